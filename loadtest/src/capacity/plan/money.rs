//! What a year costs.

use super::super::costs::{Resource, Work};
use super::super::prices::Class;
use super::super::target::{HOURS_A_YEAR, Volume, large};
use super::super::{Basis, Estimate};
use super::{Figure, GB, Planner, figure};

const MONTHS: f64 = 12.0;

impl Planner<'_> {
    /// The bill of a year by kind, and its sum, which comes last.
    pub(super) fn money(
        &self,
        volume: &Volume,
        figures: &[Figure],
        archived: f64,
        middle: f64,
    ) -> Vec<Figure> {
        let of = |name: &str| {
            let found = figures.iter().find(|figure| figure.name == name);
            found.map_or(Estimate::given(0.0), |figure| figure.estimate)
        };
        let prices = self.prices;
        let bill = |name, formula, worked, estimate| {
            figure(name, &prices.currency, formula, worked, estimate)
        };
        let (nodes, disk, objects) = (of("nodes"), of("disk"), of("new objects"));
        let mut bills = vec![
            bill(
                "nodes' price",
                "nodes x hours of a year x price of an hour",
                format!("{:.0} x {HOURS_A_YEAR} x {}", nodes.value, prices.node.hour),
                nodes * (HOURS_A_YEAR * prices.node.hour),
            ),
            bill(
                "disks' price",
                "disk x 12 x price of a GB and month",
                format!("{:.0} GB x 12 x {}", disk.value, prices.disk.gb_month),
                disk * (MONTHS * prices.disk.gb_month),
            ),
            self.storage(archived, middle),
            self.requests(volume, objects, of("GETs"), archived, middle),
            self.egress(volume),
        ];
        let sum = bills
            .iter()
            .fold(Estimate::given(0.0), |sum, figure| sum + figure.estimate);
        let parts: Vec<String> = bills
            .iter()
            .map(|figure| format!("{:.0}", figure.estimate.value))
            .collect();
        bills.push(bill(
            "price of the year",
            "sum of the five",
            parts.join(" + "),
            sum,
        ));
        bills
    }

    /// The share of archived invoices that are in each class of objects, by their age in the middle
    /// of the year.
    fn shares(&self, archived: f64, middle: f64) -> Vec<(&Class, f64)> {
        let classes = &self.prices.objects;
        let older = |class: &Class| self.target.archived(middle - class.from_month / MONTHS);
        let share = |(index, class)| {
            let gone = classes.get(index + 1).map_or(0.0, older);
            let inside = if archived > 0.0 {
                (older(class) - gone) / archived
            } else {
                0.0
            };
            (class, inside)
        };
        classes.iter().enumerate().map(share).collect()
    }

    fn storage(&self, archived: f64, middle: f64) -> Figure {
        let row = self.needed.cost(Work::Keep, Resource::ColdBytes);
        let shares = self.shares(archived, middle);
        let price: f64 = shares
            .iter()
            .map(|(class, share)| share * class.gb_month)
            .sum();
        let words: Vec<String> = shares
            .iter()
            .map(|(class, share)| {
                format!("{:.0}% {} x {}", share * 100.0, class.name, class.gb_month)
            })
            .collect();
        figure(
            "objects' price",
            &self.prices.currency,
            "archived in the middle of the year x bytes of one x 12 x price of a GB and month by \
            class",
            format!(
                "{} x {:.0} B x 12 x ({})",
                large(archived),
                row.value,
                words.join(" + ")
            ),
            row * (archived / GB * MONTHS * price),
        )
    }

    fn requests(
        &self,
        volume: &Volume,
        objects: Estimate,
        gets: Estimate,
        archived: f64,
        middle: f64,
    ) -> Figure {
        let shares = self.shares(archived, middle);
        // Each object is put once and moves once into every class that it reaches; a year's moves
        // are as many as the objects that were written so long ago, taken to be as many as now.
        let puts: f64 = self
            .prices
            .objects
            .iter()
            .filter(|class| self.target.archived(middle - class.from_month / MONTHS) > 0.0)
            .map(|class| class.put_1000)
            .sum();
        let get: f64 = shares
            .iter()
            .map(|(class, share)| share * class.get_1000)
            .sum();
        let read: f64 = shares
            .iter()
            .map(|(class, share)| share * class.retrieval_gb)
            .sum();
        let bytes = self.needed.cost(Work::GetCold, Resource::ObjectBytes);
        figure(
            "requests' price",
            &self.prices.currency,
            "new objects x (PUT and moves) + GETs x price + cold reads x bytes read x price of \
            retrieval",
            format!(
                "{} x {puts} / 1,000 + {} x {get:.5} / 1,000 + {} x {:.0} B x {read:.3} / GB",
                large(objects.value),
                large(gets.value),
                large(volume.cold_reads),
                bytes.value
            ),
            objects * (puts / 1_000.0)
                + gets * (get / 1_000.0)
                + bytes * (volume.cold_reads / GB * read),
        )
    }

    fn egress(&self, volume: &Volume) -> Figure {
        let target = self.target;
        let answers = volume.created * (target.reads + 20.0 * target.lists) + volume.cold_reads;
        figure(
            "egress' price",
            &self.prices.currency,
            "(reads + 20 x lists + cold reads) x bytes of an answer x price of a GB",
            format!(
                "{} x {:.0} B x {} / GB",
                large(answers),
                target.answer_bytes,
                self.prices.egress_gb
            ),
            // The size of an answer is the user's word.
            Estimate::exact(
                answers * target.answer_bytes / GB * self.prices.egress_gb,
                Basis::Given,
            ),
        )
    }
}
