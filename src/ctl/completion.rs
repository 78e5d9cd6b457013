//! `completion`: a script that teaches a shell the commands and flags.

use clap_complete::{
    Shell,
    shells::{Bash, Fish, PowerShell, Zsh},
};

use super::{Failure, command_line};

/// Writes a completion script for bash, zsh, fish or powershell
#[derive(Debug, clap::Args)]
#[command(override_usage = "etcdctl completion <bash|zsh|fish|powershell>")]
pub struct Completion {
    #[arg(value_name = "shell", num_args = 0..)]
    args: Vec<String>,
}

const SHELLS: &str = "bash, zsh, fish or powershell";

impl Completion {
    pub fn run(self) -> Result<(), Failure> {
        let [shell] = &self.args[..] else {
            return Err(Failure::general(format!("accepts 1 arg(s), received {}: one of {SHELLS}", self.args.len())));
        };
        let shell = match &shell[..] {
            "bash" => Shell::Bash,
            "zsh" => Shell::Zsh,
            "fish" => Shell::Fish,
            "powershell" => Shell::PowerShell,
            other => return Err(Failure::general(format!("invalid argument {other:?} for \"etcdctl completion\": one of {SHELLS}"))),
        };
        let (mut tree, mut script) = (command_line::tree(false), Vec::new());
        match shell {
            Shell::Bash => clap_complete::generate(Bash, &mut tree, "etcdctl", &mut script),
            Shell::Zsh => clap_complete::generate(Zsh, &mut tree, "etcdctl", &mut script),
            Shell::Fish => clap_complete::generate(Fish, &mut tree, "etcdctl", &mut script),
            _ => clap_complete::generate(PowerShell, &mut tree, "etcdctl", &mut script),
        }
        Ok(std::io::Write::write_all(&mut std::io::stdout(), &script)?)
    }
}
