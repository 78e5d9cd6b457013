//! The commands of etcdutl.
//!
//! Writes: nothing. Reads: arguments.

use clap::Subcommand;

use super::{defrag::Defrag, export::Export, hashkv::HashKv, migrate::Migrate, settings, snapshot::Snapshot};
use crate::cli::{Completion, Tool, Version};

#[derive(Debug, Subcommand)]
pub enum Command {
    Snapshot(Snapshot),
    #[command(name = "hashkv")]
    HashKv(HashKv),
    Defrag(Defrag),
    Migrate(Migrate),
    Completion(Completion),
    Export(Export),
    Version(Version),
}

pub const TOOL: Tool = Tool {
    name: "etcdutl",
    about: "An administrative tool for the files of etcd.",
    commands: Command::augment_subcommands,
    flags: &settings::FLAGS,
    groups: &[
        ("Commands for snapshot files", &["hashkv", "snapshot"]),
        ("Commands for the data directory of a member that is stopped", &["defrag", "export", "migrate"]),
        ("Utility commands", &["completion", "help", "version"]),
    ],
    hint: "",
    hint_short: "",
    dash: "etcdutl snapshot status -- <file>",
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_of_commands_is_sound() {
        TOOL.tree(false).debug_assert();
        let grouped: Vec<_> = TOOL.groups.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        for command in TOOL.tree(false).get_subcommands() {
            assert!(grouped.contains(&command.get_name()), "{} is missing in the help", command.get_name());
            assert!(command.get_about().is_some(), "{} has no help", command.get_name());
        }
    }
}
