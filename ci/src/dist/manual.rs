//! Manual pages, from what the programs say of themselves with `--help`.
//!
//! ```text
//!   Key-value commands                 .SH KEY-VALUE COMMANDS
//!     get         Shows a key     -->  .TP
//!                                      \fBget\fR
//!                                      Shows a key
//! ```
//!
//! A page is a program; the commands of a section called "... commands" are asked in turn and become sections of it.

use std::fmt::Write as _;

use anyhow::Result;

/// One block of a help text.
#[derive(Debug, PartialEq, Eq)]
struct Section {
    title: String,
    items: Vec<(String, String)>,
    prose: Vec<String>,
}

/// Writes the page of `program`; `help` answers what it prints for these words before `--help`.
pub fn page(program: &str, release: &str, day: &str, help: &mut dyn FnMut(&[String]) -> Result<String>) -> Result<String> {
    let mut page = format!(".TH {} 1 {day} \"etcd {release}\" \"etcd\"\n", program.to_uppercase());
    let own = sections(&help(&[])?);
    // What stands before every heading is of the program itself; below one it is of the heading.
    let untitled = own.iter().filter(|section| section.title.is_empty());
    let first = untitled.flat_map(|section| &section.prose).find(|line| !line.contains("Usage")).cloned();
    let _ = writeln!(
        page,
        ".SH NAME\n{program} \\- {}",
        escaped(first.as_deref().unwrap_or("distributed key-value store").trim_end_matches('.'))
    );
    own.iter().for_each(|section| write_section(&mut page, section, ""));
    for name in commands(&own) {
        command(&mut page, &[name], help)?;
    }
    Ok(page)
}

fn command(page: &mut String, words: &[String], help: &mut dyn FnMut(&[String]) -> Result<String>) -> Result<()> {
    let sections = sections(&help(words)?);
    let title = words.join(" ");
    let _ = writeln!(page, ".SH {}", escaped(&title.to_uppercase()));
    for section in &sections {
        write_section(page, section, &title);
    }
    for name in commands(&sections) {
        command(page, &[words, &[name]].concat(), help)?;
    }
    Ok(())
}

/// The names in sections of commands; `help` only repeats the rest.
fn commands(sections: &[Section]) -> Vec<String> {
    let lists = sections.iter().filter(|section| section.title.to_lowercase().ends_with("commands"));
    let names = lists.flat_map(|section| &section.items).map(|(name, _)| name.clone());
    names.filter(|name| name != "help" && !name.contains(' ')).collect()
}

fn write_section(page: &mut String, section: &Section, of: &str) {
    if !section.title.is_empty() {
        let macro_name = if of.is_empty() { ".SH" } else { ".SS" };
        let title = if of.is_empty() { section.title.to_uppercase() } else { section.title.clone() };
        let _ = writeln!(page, "{macro_name} {}", escaped(&title));
    }
    for line in &section.prose {
        let _ = writeln!(page, ".PP\n{}", escaped(line));
    }
    for (name, text) in &section.items {
        let _ = writeln!(page, ".TP\n\\fB{}\\fR\n{}", escaped(name), escaped(text));
    }
}

fn sections(help: &str) -> Vec<Section> {
    let mut sections = vec![Section { title: String::new(), items: Vec::new(), prose: Vec::new() }];
    let lines: Vec<&str> = help.lines().collect();
    for (index, line) in lines.iter().enumerate() {
        let text = line.trim();
        if text.is_empty() {
            continue;
        }
        let is_followed = lines.get(index + 1).is_some_and(|next| next.starts_with(' '));
        let last = sections.len() - 1;
        if !line.starts_with(' ') {
            if is_followed || text.ends_with(':') {
                sections.push(Section { title: text.trim_end_matches(':').to_owned(), items: Vec::new(), prose: Vec::new() });
            } else {
                sections[last].prose.push(text.to_owned());
            }
        } else if let Some((name, text)) = item(text) {
            sections[last].items.push((name, text));
        } else if line.starts_with("    ") && !sections[last].items.is_empty() && !text.starts_with('-') {
            // What an item says may stand below it.
            if let Some((_, said)) = sections[last].items.last_mut() {
                *said = format!("{said} {text}").trim().to_owned();
            }
        } else if text.starts_with('-') {
            sections[last].items.push((text.to_owned(), String::new()));
        } else {
            sections[last].prose.push(text.to_owned());
        }
    }
    sections.retain(|section| !section.items.is_empty() || !section.prose.is_empty());
    sections
}

/// A name and its text, at least two spaces apart.
fn item(line: &str) -> Option<(String, String)> {
    if let Some((name, text)) = line.split_once("  ") {
        return Some((name.trim().to_owned(), text.trim().to_owned()));
    }
    // A name that fills its column has one space after it.
    let (name, text) = line.split_once(' ')?;
    let is_name = name.contains('-') && !name.starts_with('-') && name.chars().all(|c| c.is_ascii_lowercase() || c == '-');
    is_name.then(|| (name.to_owned(), text.trim().to_owned()))
}

/// Text that troff takes as it is.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: &str =
        "A client.\n\nUsage:\n  x [command]\n\nKey commands\n  get         Shows a key\n  move-leader Hands it on\n\nUse \"x options\".\n";
    const GET: &str = "Shows a key\n\nUsage: x get\n\nOptions:\n      --limit <int>   Most keys\n                      or fewer\n  -h, --help  Print help\n";
    const SERVER: &str = "\nMember:\n  --name 'default'\n    Its name.\n  --data-dir ''\n    Where it is.\n";

    #[test]
    fn sections_items_and_the_text_below_them_are_told_apart() {
        let client = sections(CLIENT);
        let titles: Vec<&str> = client.iter().map(|section| section.title.as_str()).collect();
        assert_eq!(titles, ["", "Usage", "Key commands"], "{client:?}");
        assert_eq!(commands(&client), ["get", "move-leader"]);
        assert_eq!(sections(GET)[1].items[0], ("--limit <int>".into(), "Most keys or fewer".into()));
        let wanted = [("--name 'default'".to_owned(), "Its name.".to_owned()), ("--data-dir ''".to_owned(), "Where it is.".to_owned())];
        assert_eq!(sections(SERVER)[0].items, wanted);
    }

    #[test]
    fn what_stands_below_a_heading_is_not_said_of_the_program() {
        let text = format!("{SERVER}\nUnsafe:\n  Use them for repair.\n  --force\n    Anyway.\n");
        let page = page("etcd", "3.7.1", "2026-11-24", &mut |_: &[String]| Ok(text.clone())).unwrap();
        assert!(page.contains(".SH NAME\netcd \\- distributed key\\-value store\n"), "{page}");
    }

    #[test]
    fn a_page_has_every_command_with_its_flags() {
        let mut asked = Vec::new();
        let mut help = |words: &[String]| {
            asked.push(words.join(" "));
            Ok(if words.is_empty() { CLIENT } else { GET }.to_owned())
        };
        let page = page("x", "3.7.1", "2026-11-24", &mut help).unwrap();
        assert_eq!(asked, ["", "get", "move-leader"]);
        for wanted in [
            ".TH X 1 2026-11-24",
            "x \\- A client",
            ".SH KEY COMMANDS",
            ".SH GET",
            ".SS Options",
            "\\fB\\-\\-limit <int>\\fR\nMost keys or fewer",
        ] {
            assert!(page.contains(wanted), "{wanted} is not in\n{page}");
        }
    }

    #[test]
    fn text_is_no_markup() {
        assert_eq!(escaped(".dot - \\n"), "\\&.dot \\- \\en");
    }
}
