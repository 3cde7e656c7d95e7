//! Which version a client means to change: `If-Match` and `If-None-Match` of RFC 9110, without
//! their form.

/// Versions that a client names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Versions {
    /// Whichever is there (`*`).
    Any,
    /// These. One that is none of ours is left out: it matches nothing.
    These(Vec<i64>),
}

impl Versions {
    /// `current`: 0 where there is nothing yet.
    fn has(&self, current: i64) -> bool {
        match self {
            Self::Any => current > 0,
            Self::These(versions) => versions.contains(&current),
        }
    }
}

/// What a thing must be like for a change of it to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// It has one of these versions (`If-Match`).
    pub has: Option<Versions>,
    /// It has none of them (`If-None-Match`); with [`Versions::Any`]: there is none yet.
    pub has_not: Option<Versions>,
}

impl Expected {
    /// It must have one of these versions, and nothing else is asked.
    #[must_use]
    pub fn one_of(versions: &[i64]) -> Self {
        Self {
            has: Some(Versions::These(versions.to_vec())),
            has_not: None,
        }
    }

    /// Whether a change of what has this version may be done; 0 is that of what is not there yet.
    #[must_use]
    pub fn allows(&self, current: i64) -> bool {
        let has = |versions: &Versions| versions.has(current);
        self.has.as_ref().is_none_or(has) && !self.has_not.as_ref().is_some_and(has)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_conditions_must_hold() {
        let these = |versions: &[i64]| Some(Versions::These(versions.to_vec()));
        let any = || Some(Versions::Any);
        for (has, has_not, allowed) in [
            (None, None, &[0, 1, 2][..]),
            (any(), None, &[1, 2]),
            (these(&[0, 2]), None, &[0, 2]),
            (these(&[]), None, &[]),
            (None, any(), &[0]),
            (None, these(&[1]), &[0, 2]),
            (these(&[1, 2]), these(&[1]), &[2]),
            (any(), any(), &[]),
        ] {
            let expected = Expected { has, has_not };
            let found: Vec<i64> = (0..3).filter(|v| expected.allows(*v)).collect();
            assert_eq!(found, allowed, "{expected:?}");
        }
        assert!(Expected::one_of(&[3]).allows(3) && !Expected::one_of(&[3]).allows(2));
    }
}
