//! `ETCD_*` variables: `--listen-peer-urls` is `ETCD_LISTEN_PEER_URLS` (CFG-1).
//!
//! Writes: `Settings`, for flags that the command line left alone. Reads: the environment it is handed.

use super::Notice;
use super::flags::FLAGS;
use super::settings::Settings;

/// Variables that are read elsewhere, or that only matter to another build of etcd (CFG-9).
const KNOWN: &[&str] = &["ETCD_CONFIG_FILE", "ETCD_UNSUPPORTED_ARCH", "ETCD_VERIFY"];

/// Reads the variables into the settings. A variable beside the flag it stands for is refused, since one of the two is a mistake.
pub fn read(env: &[(String, String)], settings: &mut Settings, notices: &mut Vec<Notice>) -> Result<(), String> {
    let names: Vec<String> = FLAGS.iter().map(super::flags::Flag::env_name).collect();
    if let Some((name, _)) =
        env.iter().find(|(name, _)| names.iter().position(|known| known == name).is_some_and(|at| settings.is_set_at(at)))
    {
        return Err(format!(
            "conflicting environment variable {name:?} is shadowed by corresponding command-line flag \
             (either unset environment variable or disable flag)"
        ));
    }
    for (name, text) in env.iter().filter(|(name, _)| name.starts_with("ETCD_") && !KNOWN.contains(&name.as_str())) {
        match names.iter().position(|known| known == name).filter(|_| !text.is_empty()) {
            Some(_) if name == "ETCD_VERSION" => notices.push(Notice::warn("environment variable cannot set this flag", name)),
            Some(at) => {
                let value = FLAGS[at].kind.read(text).map_err(|error| format!("invalid value {text:?} for {name}: {error}"))?;
                settings.set(at, value);
            }
            None => notices.push(Notice::warn("unrecognized environment variable", name)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_variable_sets_the_flag_it_is_named_after() {
        let mut settings = Settings::default();
        read(&env(&[("ETCD_NAME", "a"), ("ETCD_MAX_TXN_OPS", "7"), ("PATH", "/bin")]), &mut settings, &mut Vec::new()).unwrap();
        assert_eq!((settings.text("name"), settings.uint("max-txn-ops")), ("a", 7));
    }

    #[test]
    fn a_variable_beside_its_flag_is_refused() {
        let mut settings = Settings::default();
        super::super::args::read(&["--name=a".to_owned()], &mut settings).unwrap();
        let error = read(&env(&[("ETCD_NAME", "")]), &mut settings, &mut Vec::new()).unwrap_err();
        assert!(error.contains("conflicting environment variable \"ETCD_NAME\" is shadowed by corresponding command-line flag"), "{error}");
    }

    #[test]
    fn a_wrong_value_names_the_variable() {
        let error = read(&env(&[("ETCD_MAX_TXN_OPS", "abc")]), &mut Settings::default(), &mut Vec::new()).unwrap_err();
        assert_eq!(error, "invalid value \"abc\" for ETCD_MAX_TXN_OPS: parse error");
    }

    #[test]
    fn unknown_and_empty_variables_only_warn() {
        let mut notices = Vec::new();
        let pairs = env(&[("ETCD_FOO", "1"), ("ETCD_NAME", ""), ("ETCD_VERSION", "true"), ("ETCD_UNSUPPORTED_ARCH", "x")]);
        let mut settings = Settings::default();
        read(&pairs, &mut settings, &mut notices).unwrap();
        assert_eq!(notices.iter().map(|notice| notice.subject.as_str()).collect::<Vec<_>>(), ["ETCD_FOO", "ETCD_NAME", "ETCD_VERSION"]);
        assert!(!settings.bool("version") && settings.text("name") == "default");
    }
}
