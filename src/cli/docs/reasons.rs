//! The list of reasons in mpreg-reasons(7).

use super::mdoc;
use crate::core::reason::REASONS;

/// Every reason by name, what it means and what to do.
pub fn reference() -> String {
    let mut rows: Vec<_> = REASONS.iter().collect();
    rows.sort_by_key(|row| row.name);
    let mut out = String::from(".Bl -tag -width Ds\n");
    for row in rows {
        out += &format!(".It Cm {}\n", mdoc::argument(row.name));
        out += &mdoc::sentence(row.meaning);
        if row.reason.is_routine() {
            out += "Routine: counted, but not worth a line of the log.\n";
        }
        out += &format!(".Pp\n.Em \"What to do:\"\n{}", mdoc::sentence(row.remedy));
    }
    out + ".El\n"
}
