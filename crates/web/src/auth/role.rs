//! The one table of what each role may do. `docs/roles.md` shows it, and a test compares the two.

use sheaf_store::Role;

/// What a tenant's route does with the tenant's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Reads documents and customers, of both tiers.
    Read,
    /// Creates, uploads, edits, issues and sends documents.
    Write,
    /// Payments, refunds, reversals, credit notes, cancellations.
    Money,
    /// Makes and changes customers.
    Customers,
    /// Number series, the tenant's profile.
    Settings,
    /// Erases customers' personal data, sets retention.
    Privacy,
    /// Lists, makes, rotates and revokes API keys.
    Keys,
    /// Reads the audit trail.
    Audit,
}

/// A role may do an action where its column says so: admin, finance, viewer.
pub const TABLE: [(Action, [bool; 3]); 8] = [
    (Action::Read, [true, true, true]),
    (Action::Write, [true, true, false]),
    (Action::Money, [true, true, false]),
    (Action::Customers, [true, true, false]),
    (Action::Settings, [true, false, false]),
    (Action::Privacy, [true, false, false]),
    (Action::Keys, [true, false, false]),
    (Action::Audit, [true, true, true]),
];

/// Whether the table allows it.
pub fn allows(role: Role, action: Action) -> bool {
    let column = match role {
        Role::Admin => 0,
        Role::Finance => 1,
        Role::Viewer => 2,
    };
    TABLE
        .iter()
        .any(|(of, allowed)| *of == action && allowed[column])
}

impl Action {
    /// As `docs/roles.md` and the routes' descriptions name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Money => "money",
            Self::Customers => "customers",
            Self::Settings => "settings",
            Self::Privacy => "privacy",
            Self::Keys => "keys",
            Self::Audit => "audit",
        }
    }
}

/// The table, for documentation and tests: the action's name, and whether admin, finance and viewer
/// may do it.
#[must_use]
pub fn role_table() -> Vec<(&'static str, [bool; 3])> {
    TABLE
        .iter()
        .map(|(action, allowed)| (action.name(), *allowed))
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_action_has_one_row_and_the_rows_are_read_by_role() {
        for (index, (action, allowed)) in TABLE.iter().enumerate() {
            assert!(TABLE[..index].iter().all(|(before, _)| before != action));
            let of_role = [Role::Admin, Role::Finance, Role::Viewer].map(|r| allows(r, *action));
            assert_eq!(&of_role, allowed, "{action:?}");
        }
        assert!(!allows(Role::Finance, Action::Keys) && !allows(Role::Viewer, Action::Write));
    }

    #[test]
    fn the_documents_table_is_this_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/roles.md");
        let page = std::fs::read_to_string(path).unwrap();
        let documented: Vec<(String, [bool; 3])> = page
            .lines()
            .filter(|line| line.starts_with("| `"))
            .map(|line| {
                let cells: Vec<&str> = line.split('|').map(str::trim).collect();
                let allowed = [3, 4, 5].map(|cell| match cells[cell] {
                    "yes" => true,
                    "no" => false,
                    other => panic!("neither yes nor no: {other}"),
                });
                (cells[1].trim_matches('`').to_owned(), allowed)
            })
            .collect();
        let ours: Vec<(String, [bool; 3])> = role_table()
            .into_iter()
            .map(|(name, allowed)| (name.to_owned(), allowed))
            .collect();
        assert_eq!(documented, ours);
    }
}
