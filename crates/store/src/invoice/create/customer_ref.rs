//! How a create names its customer.

use crate::invoice::new::NewInvoice;

/// How an item names its customer; kept beside the item, because writing fills in what the client
/// left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum CustomerRef {
    #[default]
    None,
    ById,
    ByExternalId,
}

impl CustomerRef {
    pub(crate) fn of(new: &NewInvoice) -> Self {
        match (&new.invoice.customer, new.invoice.customer_id) {
            // A client's customer has an external id. One without has been filled in by an attempt
            // that failed.
            (Some(c), Some(_)) if c.external_id.is_none() => Self::ById,
            // An exported document shows a customer that no record is known of.
            (Some(c), None) if c.external_id.is_none() => Self::None,
            (Some(_), _) => Self::ByExternalId,
            (None, Some(_)) => Self::ById,
            (None, None) => Self::None,
        }
    }
}
