//! Which costs a target needs.

use super::super::costs::{Costs, CostsError, Found, Resource, STRETCH, Work};
use super::super::target::Target;
use super::super::{Basis, Estimate};

/// The costs that the target needs.
pub(super) struct Needed(pub(super) Vec<Found>);

impl Needed {
    pub(super) fn of(target: &Target, costs: &Costs) -> Result<Self, CostsError> {
        let single = target.bulk < 1.0;
        let bulk = target.bulk > 0.0;
        let pays = target.payments > 0.0;
        let cold = target.cold_reads > 0.0;
        let wanted = [
            (single, Work::Create, Resource::CpuS),
            (bulk, Work::Bulk, Resource::CpuS),
            (pays, Work::Pay, Resource::CpuS),
            (target.reads > 0.0, Work::GetHot, Resource::CpuS),
            (target.lists > 0.0, Work::List, Resource::CpuS),
            (cold, Work::GetCold, Resource::CpuS),
            (true, Work::Tier, Resource::CpuS),
            (single, Work::Create, Resource::WalBytes),
            (bulk, Work::Bulk, Resource::WalBytes),
            (pays, Work::Pay, Resource::WalBytes),
            (true, Work::Keep, Resource::HotBytes),
            (true, Work::Keep, Resource::ColdBytes),
            (cold, Work::GetCold, Resource::ObjectGets),
        ];
        let (mut found, mut missing) = (Vec::new(), Vec::new());
        for (_, work, resource) in wanted.into_iter().filter(|(needed, ..)| *needed) {
            match costs.find(work, resource) {
                Some(cost) => found.push(cost),
                None => missing.push(format!("{}.{}", work.name(), resource.name())),
            }
        }
        if missing.is_empty() {
            // Of use where the price file charges for bytes read.
            found.extend(costs.find(Work::GetCold, Resource::ObjectBytes));
            Ok(Self(found))
        } else {
            Err(CostsError::Missing(missing.join(", ")))
        }
    }

    /// 0 when it is not needed.
    pub(super) fn cost(&self, work: Work, resource: Resource) -> Estimate {
        self.found(work, resource)
            .map_or(Estimate::given(0.0), |found| found.estimate)
    }

    pub(super) fn found(&self, work: Work, resource: Resource) -> Option<&Found> {
        let is = |found: &&Found| found.cost.work == work && found.cost.resource == resource;
        self.0.iter().find(is)
    }

    /// The cost where there are `hot` invoices on each worker: beyond [`STRETCH`] times what was
    /// measured, deeper trees and colder caches make it another one.
    pub(super) fn at_size(&self, work: Work, resource: Resource, hot: f64) -> Estimate {
        let cost = self.cost(work, resource);
        match self.found(work, resource) {
            Some(found) if hot > found.cost.units * STRETCH => cost.at_best(Basis::Extrapolated),
            _ => cost,
        }
    }
}
