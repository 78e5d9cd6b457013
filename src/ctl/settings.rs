//! The global flags: one table, from which come the command line, the environment, `etcdctl options` and `--debug`.
//!
//!   --flag value  >  ETCDCTL_FLAG=value  >  default;  flag and variable together are a conflict and end the command
//!
//! Writes: warnings about variables. Reads: matched arguments and the environment, once per command.

use std::collections::BTreeMap;

use clap::{ArgMatches, parser::ValueSource};

use super::{Failure, log, number};
use crate::{
    cli::{Flag, Kind},
    print::{Format, text},
};

const fn flag(name: &'static str, kind: Kind, default: &'static str, help: &'static str) -> Flag {
    Flag::new(name, kind, default, help)
}

/// In the order of their names.
pub const FLAGS: [Flag; 21] = [
    flag("auth-jwt-token", Kind::Text, "", "a token to authenticate with, in place of --user and --password"),
    flag("cacert", Kind::Text, "", "file of the CA certificates that members are verified with"),
    flag("cert", Kind::Text, "", "file of the client's certificate"),
    flag("command-timeout", Kind::Duration, "5s", "how long a short command may take"),
    flag("debug", Kind::Switch, "false", "print the settings in use on stderr"),
    flag("dial-timeout", Kind::Duration, "2s", "how long connecting to one endpoint may take"),
    Flag::with_short('d', flag("discovery-srv", Kind::Text, "", "domain whose SRV records name the endpoints")),
    flag("discovery-srv-name", Kind::Text, "", "suffix of the service name in SRV records"),
    flag("endpoints", Kind::List, "127.0.0.1:2379", "addresses of members, separated by commas"),
    flag("hex", Kind::Switch, "false", "print byte strings, and ids where possible, in hexadecimal"),
    flag("insecure-discovery", Kind::Switch, "true", "accept SRV records of endpoints without TLS"),
    flag("insecure-skip-tls-verify", Kind::Switch, "false", "accept any certificate of a member (for tests only)"),
    flag("insecure-transport", Kind::Switch, "true", "no TLS unless an https endpoint or a certificate asks for it"),
    flag("keepalive-time", Kind::Duration, "2s", "how often an idle connection is probed (at least 10s)"),
    flag("keepalive-timeout", Kind::Duration, "6s", "how long a probe may stay unanswered"),
    flag("key", Kind::Text, "", "file of the key of the client's certificate"),
    flag("max-recv-bytes", Kind::Number, "0", "longest answer accepted, in bytes (0: no limit)"),
    flag("max-request-bytes", Kind::Number, "0", "longest request sent, in bytes (0: 2 MiB)"),
    flag("password", Kind::Text, "", "password of --user, which then is the name only"),
    flag("user", Kind::Text, "", "name[:password] to authenticate with; asks for a password that is missing"),
    Flag::with_short('w', flag("write-out", Kind::Text, "simple", "format of the answer: fields, json, protobuf, simple or table")),
];

pub fn variable_of(flag: &Flag) -> String {
    format!("ETCDCTL_{}", flag.name.to_ascii_uppercase().replace('-', "_"))
}

/// A flag was given and its variable is set.
pub fn conflict(variable: &str) -> Failure {
    let message = "conflicting environment variable is shadowed by corresponding command-line flag \
                   (either unset environment variable or disable flag)";
    log::fatal(message, &[("environment-variable", variable)]);
    Failure::told()
}

/// The value of every global flag.
#[derive(Debug)]
pub struct Settings {
    values: BTreeMap<&'static str, String>,
    given: Vec<&'static str>,
    /// By a variable.
    inherited: Vec<&'static str>,
}

impl Settings {
    /// `also_known`: variables that only some commands have.
    pub fn resolve(matches: &ArgMatches, variables: &[(String, String)], also_known: &[&str]) -> Result<Settings, Failure> {
        let mut settings = Settings { values: BTreeMap::new(), given: Vec::new(), inherited: Vec::new() };
        for flag in &FLAGS {
            let values: Vec<String> = matches.get_many::<String>(flag.name).map(|v| v.cloned().collect()).unwrap_or_default();
            if matches.value_source(flag.name) == Some(ValueSource::CommandLine) {
                settings.given.push(flag.name);
            }
            settings.values.insert(flag.name, values.join(","));
        }
        for (variable, value) in variables.iter().filter(|(variable, _)| variable.starts_with("ETCDCTL_")) {
            settings.take_variable(variable, value, also_known)?;
        }
        Ok(settings)
    }

    fn take_variable(&mut self, variable: &str, value: &str, also_known: &[&str]) -> Result<(), Failure> {
        let Some(flag) = FLAGS.iter().find(|flag| variable_of(flag) == variable) else {
            if !also_known.contains(&variable) {
                log::warn("unrecognized environment variable", &[("environment-variable", &format!("{variable}={value}"))]);
            }
            return Ok(());
        };
        if self.given.contains(&flag.name) {
            return Err(conflict(variable));
        }
        // An empty variable is one that is not set.
        if value.is_empty() {
            return Ok(());
        }
        match flag.kind.check(value) {
            Ok(()) => {
                self.values.insert(flag.name, value.to_owned());
                self.inherited.push(flag.name);
            }
            Err(reason) => log::warn(
                "environment variable ignored, its value cannot be used",
                &[("environment-variable", &format!("{variable}={value}")), ("error", &reason)],
            ),
        }
        Ok(())
    }

    /// As `--debug` prints them.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        FLAGS.iter().map(|flag| match flag.kind {
            Kind::List => format!("{}=[{}]", variable_of(flag), self.text(flag.name)),
            _ => format!("{}={}", variable_of(flag), self.text(flag.name)),
        })
    }

    pub fn text(&self, name: &str) -> &str {
        self.values.get(name).unwrap_or_else(|| panic!("{name} is a global flag"))
    }

    pub fn is_given(&self, name: &str) -> bool {
        self.given.contains(&name)
    }

    /// By its flag or its variable.
    pub fn is_set(&self, name: &str) -> bool {
        self.is_given(name) || self.inherited.contains(&name)
    }

    pub fn is_on(&self, name: &str) -> bool {
        number::parse_bool(self.text(name)).expect("checked when it was taken")
    }

    pub fn duration(&self, name: &str) -> std::time::Duration {
        text::parse_duration(self.text(name)).expect("checked when it was taken")
    }

    /// Zero and less mean "not set".
    pub fn size(&self, name: &str) -> Option<usize> {
        let number = number::parse_flag(self.text(name)).expect("checked when it was taken");
        usize::try_from(number).ok().filter(|&n| n > 0)
    }

    pub fn endpoints(&self) -> Vec<String> {
        self.text("endpoints").split(',').map(|e| e.trim().to_owned()).collect()
    }

    pub fn format(&self) -> Result<Format, Failure> {
        Format::from_name(self.text("write-out")).ok_or_else(|| Failure::bad_feature("unsupported output format"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(args: &[&str], variables: &[(&str, &str)]) -> Result<Settings, Failure> {
        let command = clap::Command::new("etcdctl").args(FLAGS.iter().map(Flag::arg));
        let matches = command.try_get_matches_from([&["etcdctl"], args].concat()).unwrap();
        let variables: Vec<_> = variables.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect();
        Settings::resolve(&matches, &variables, &[])
    }

    #[test]
    fn the_flags_are_in_the_order_of_their_names() {
        assert!(FLAGS.is_sorted_by_key(|flag| flag.name));
    }

    #[test]
    fn a_variable_gives_the_value_of_a_flag_that_is_not_given() {
        let settings = resolve(&["--hex"], &[("ETCDCTL_ENDPOINTS", "a:1, b:2"), ("ETCDCTL_DIAL_TIMEOUT", "")]).unwrap();
        assert_eq!(settings.endpoints(), ["a:1", "b:2"]);
        assert_eq!(settings.duration("dial-timeout"), std::time::Duration::from_secs(2));
        assert!(settings.is_on("hex"));
    }

    #[test]
    fn a_flag_and_its_variable_together_are_a_conflict() {
        assert_eq!(resolve(&["--endpoints=a:1"], &[("ETCDCTL_ENDPOINTS", "b:1")]).unwrap_err(), Failure::told());
    }

    #[test]
    fn a_variable_with_a_wrong_value_is_ignored() {
        let settings = resolve(&[], &[("ETCDCTL_COMMAND_TIMEOUT", "soon")]).unwrap();
        assert_eq!(settings.duration("command-timeout"), std::time::Duration::from_secs(5));
    }

    #[test]
    fn a_switch_is_turned_off_by_its_value() {
        assert!(!resolve(&["--insecure-transport=false"], &[]).unwrap().is_on("insecure-transport"));
        assert_eq!(resolve(&["--endpoints", "a:1", "--endpoints=b:1,c:1"], &[]).unwrap().endpoints(), ["a:1", "b:1", "c:1"]);
    }
}
