//! `longshore config`: the settings in force, and where each comes from.

use std::process::ExitCode;

use crate::config::InForce;

use super::say;

/// Says them, table by table, in columns.
pub(super) fn run(settings: &[InForce]) -> ExitCode {
    table(settings).iter().for_each(|line| say(line));
    ExitCode::SUCCESS
}

/// The lines, with a title over each table and nothing before the first.
fn table(settings: &[InForce]) -> Vec<String> {
    let width = |text: fn(&InForce) -> &str| settings.iter().map(|it| text(it).chars().count()).max().unwrap_or(0);
    let (keys, values) = (width(|it| &it.key), width(|it| &it.value));
    let mut lines = Vec::new();
    for tables in settings.chunk_by(|one, next| one.section == next.section) {
        let gap = if lines.is_empty() { "" } else { "\n" };
        lines.extend(tables.first().map(|first| format!("{gap}[{}]", first.section)));
        lines.extend(tables.iter().map(|it| format!("{:keys$}  {:values$}  {}", it.key, it.value, it.origin)));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_stand_in_columns_under_their_table() {
        let setting = |section: &str, key: &str, value: &str| InForce {
            section: section.to_owned(),
            key: key.to_owned(),
            value: value.to_owned(),
            origin: "default".to_owned(),
        };

        let lines = table(&[setting("a", "long_key", "→ x"), setting("a", "b", "value"), setting("c", "d", "")]);

        assert_eq!(lines, ["[a]", "long_key  → x    default", "b         value  default", "\n[c]", "d                default"]);
    }
}
