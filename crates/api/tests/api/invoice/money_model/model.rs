//! The rules of money once more, in whole cents and as plainly as possible: what the API is
//! compared with.

use std::collections::BTreeMap;

/// Cents of EUR.
pub(super) type Cents = i64;

/// Quantity, price and tax rate in percent.
pub(super) type Line = (i64, Cents, i64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Draft,
    Issued,
    PartiallyPaid,
    Paid,
    Cancelled,
}

impl Status {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Issued => "issued",
            Self::PartiallyPaid => "partially_paid",
            Self::Paid => "paid",
            Self::Cancelled => "cancelled",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Payment,
    Reversal,
    Refund,
    Credit,
}

#[derive(Clone, Debug)]
pub(super) struct Payment {
    pub(super) kind: Kind,
    pub(super) amount: Cents,
    reversed: bool,
}

/// An invoice, or a credit note.
#[derive(Clone, Debug)]
pub(super) struct Doc {
    pub(super) id: String,
    pub(super) note: bool,
    pub(super) status: Status,
    pub(super) lines: Vec<Line>,
    pub(super) payments: Vec<Payment>,
    total: Cents,
    pub(super) credited: Cents,
    /// Net and tax by rate.
    credited_at: BTreeMap<i64, (Cents, Cents)>,
    /// On its credit notes.
    paid_out: Cents,
    /// Of a credit note, the index of its invoice.
    pub(super) of: Option<usize>,
    pub(super) version: i64,
}

fn nets(lines: &[Line]) -> BTreeMap<i64, Cents> {
    let mut nets = BTreeMap::new();
    for (quantity, price, rate) in lines {
        *nets.entry(*rate).or_default() += quantity * price;
    }
    nets
}

/// Rounded once a rate; no net is negative here.
fn tax(net: Cents, rate: i64) -> Cents {
    (net * rate + 50) / 100
}

fn total(lines: &[Line]) -> Cents {
    let nets = nets(lines);
    nets.iter().map(|(rate, net)| net + tax(*net, *rate)).sum()
}

type Outcome = Result<(), &'static str>;

impl Doc {
    pub(super) fn new(id: String, draft: bool, note: bool, lines: Vec<Line>) -> Self {
        let mut doc = Self {
            id,
            note,
            status: if draft { Status::Draft } else { Status::Issued },
            total: total(&lines),
            lines,
            payments: Vec::new(),
            credited: 0,
            credited_at: BTreeMap::new(),
            paid_out: 0,
            of: None,
            version: 1,
        };
        if !draft {
            doc.follow();
        }
        doc
    }

    pub(super) fn total(&self) -> Cents {
        self.total
    }

    pub(super) fn paid(&self) -> Cents {
        self.payments.iter().map(|p| p.amount).sum()
    }

    pub(super) fn due(&self) -> Cents {
        match self.status {
            Status::Cancelled => 0,
            _ => self.total() - self.paid(),
        }
    }

    fn money(&self) -> Cents {
        let money = self.payments.iter().filter(|p| p.kind != Kind::Credit);
        money.map(|p| p.amount).sum()
    }

    fn follow(&mut self) {
        self.status = match self.paid() {
            paid if paid >= self.total() => Status::Paid,
            0 => Status::Issued,
            _ => Status::PartiallyPaid,
        };
    }

    fn add(&mut self, kind: Kind, amount: Cents) {
        self.payments.push(Payment {
            kind,
            amount,
            reversed: false,
        });
        self.version += 1;
        self.follow();
    }

    fn alive(&self) -> Outcome {
        match self.status {
            Status::Cancelled => Err("invoice_cancelled"),
            Status::Draft => Err("not_issued"),
            _ => Ok(()),
        }
    }

    pub(super) fn edit(&mut self, lines: Vec<Line>) -> Outcome {
        match self.status {
            Status::Draft => {}
            Status::Cancelled => return Err("invoice_cancelled"),
            _ => return Err("invoice_immutable"),
        }
        self.total = total(&lines);
        self.lines = lines;
        self.version += 1;
        Ok(())
    }

    pub(super) fn issue(&mut self) -> Outcome {
        match self.status {
            Status::Draft => {}
            Status::Cancelled => return Err("invoice_cancelled"),
            _ => return Err("already_issued"),
        }
        self.version += 1;
        self.follow();
        Ok(())
    }

    pub(super) fn cancel(&mut self) -> Outcome {
        match self.status {
            Status::Cancelled => return Err("invoice_cancelled"),
            Status::PartiallyPaid => return Err("invoice_has_payments"),
            Status::Paid if self.total() > 0 => return Err("invoice_has_payments"),
            _ if self.note => return Err("credit_note_final"),
            _ if self.credited > 0 => return Err("invoice_credited"),
            _ => {}
        }
        self.status = Status::Cancelled;
        self.version += 1;
        Ok(())
    }

    pub(super) fn pay(&mut self, amount: Cents) -> Outcome {
        if self.note {
            return Err("credit_note_not_payable");
        }
        self.alive()?;
        if self.status == Status::Paid {
            return Err("already_paid");
        }
        if amount > self.due() {
            return Err("overpayment");
        }
        self.add(Kind::Payment, amount);
        Ok(())
    }

    pub(super) fn refund(&mut self, amount: Cents) -> Outcome {
        self.alive()?;
        if self.note {
            return match self.due() {
                0 => Err("already_settled"),
                due if amount > due => Err("refund_exceeds_credit"),
                _ => {
                    self.add(Kind::Refund, amount);
                    Ok(())
                }
            };
        }
        if self.status == Status::Issued {
            return Err("nothing_paid");
        }
        if amount > self.refundable() {
            return Err("refund_exceeds_paid");
        }
        self.add(Kind::Refund, -amount);
        Ok(())
    }

    fn refundable(&self) -> Cents {
        (self.money() - self.paid_out).max(0)
    }

    /// A refund of a credit note of this invoice.
    pub(super) fn pay_out(&mut self, note: &mut Self, amount: Cents) -> Outcome {
        let before = note.clone();
        note.refund(amount)?;
        if amount > self.refundable() {
            *note = before;
            return Err("refund_exceeds_paid");
        }
        self.paid_out += amount;
        self.version += 1;
        Ok(())
    }

    pub(super) fn reverse(&mut self, nth: usize) -> Outcome {
        let Some(payment) = self.payments.get(nth).cloned() else {
            return Err("payment_not_found");
        };
        if payment.reversed {
            return Err("payment_already_reversed");
        }
        self.alive()?;
        if self.status == Status::Issued {
            return Err("nothing_paid");
        }
        if payment.kind != Kind::Payment {
            return Err("payment_not_reversible");
        }
        if payment.amount > self.money() {
            return Err("reversal_exceeds_paid");
        }
        self.payments[nth].reversed = true;
        self.add(Kind::Reversal, -payment.amount);
        Ok(())
    }

    /// The credit note that is made, without its id.
    pub(super) fn credit(&mut self, lines: Vec<Line>) -> Result<Self, &'static str> {
        if self.note {
            return Err("credit_note_of_credit_note");
        }
        self.alive()?;
        let charged = nets(&self.lines);
        let (mut credited, mut total, mut beyond) = (self.credited_at.clone(), 0, false);
        for (rate, net) in nets(&lines) {
            let charged = *charged.get(&rate).ok_or("credit_rate_not_charged")?;
            let (net_before, tax_before) = credited.get(&rate).copied().unwrap_or_default();
            // What is credited so far is taxed as one; so the last takes the rest by itself.
            let after = (net_before + net, tax(net_before + net, rate));
            total += net + after.1 - tax_before;
            beyond |= after.0 > charged;
            credited.insert(rate, after);
        }
        if total == 0 {
            return Err("credit_of_nothing");
        }
        if total > self.total() - self.credited {
            return Err("credit_exceeds_invoice");
        }
        if beyond {
            return Err("credit_exceeds_rate");
        }
        let mut note = Self::new(String::new(), false, true, lines);
        note.total = total;
        note.follow();
        self.credited_at = credited;
        self.credited += total;
        let set_off = note.total().min(self.due());
        if set_off > 0 {
            self.add(Kind::Credit, set_off);
            note.add(Kind::Credit, set_off);
            note.version = 1;
        } else {
            self.version += 1;
        }
        Ok(note)
    }

    pub(super) fn apply(&mut self, to: &mut Self) -> Outcome {
        if !self.note {
            return Err("not_a_credit_note");
        }
        self.alive()?;
        if self.status == Status::Paid {
            return Err("already_settled");
        }
        if to.note {
            return Err("credit_note_not_payable");
        }
        to.alive()?;
        if to.status == Status::Paid {
            return Err("already_paid");
        }
        let amount = self.due().min(to.due());
        self.add(Kind::Credit, amount);
        to.add(Kind::Credit, amount);
        Ok(())
    }
}
