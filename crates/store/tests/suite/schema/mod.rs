//! Migrations, years, plans and rights.

pub(crate) mod api_role;
pub(crate) mod change;
pub(crate) mod plans;
pub(crate) mod upgrade;
pub(crate) mod years;
