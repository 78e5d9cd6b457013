//! `completion`: a script that teaches a shell the commands and flags.
//!
//! Writes: stdout. Reads: the tool's own tree of commands.

use clap_complete::{
    Shell,
    shells::{Bash, Fish, PowerShell, Zsh},
};

use super::{Failure, Tool};

/// Writes a completion script for bash, zsh, fish or powershell
#[derive(Debug, clap::Args)]
pub struct Completion {
    #[arg(value_name = "shell", num_args = 0..)]
    args: Vec<String>,
}

const SHELLS: &str = "bash, zsh, fish or powershell";

impl Completion {
    pub fn run(self, tool: &Tool) -> Result<(), Failure> {
        let name = tool.name;
        let [shell] = &self.args[..] else {
            return Err(Failure::general(format!("accepts 1 arg(s), received {}: one of {SHELLS}", self.args.len())));
        };
        let shell = match &shell[..] {
            "bash" => Shell::Bash,
            "zsh" => Shell::Zsh,
            "fish" => Shell::Fish,
            "powershell" => Shell::PowerShell,
            other => return Err(Failure::general(format!("invalid argument {other:?} for \"{name} completion\": one of {SHELLS}"))),
        };
        let (mut tree, mut script) = (tool.tree(false), Vec::new());
        match shell {
            Shell::Bash => clap_complete::generate(Bash, &mut tree, name, &mut script),
            Shell::Zsh => clap_complete::generate(Zsh, &mut tree, name, &mut script),
            Shell::Fish => clap_complete::generate(Fish, &mut tree, name, &mut script),
            _ => clap_complete::generate(PowerShell, &mut tree, name, &mut script),
        }
        Ok(std::io::Write::write_all(&mut std::io::stdout(), &script)?)
    }
}
