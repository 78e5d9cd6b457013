//! Feature gates: named switches for behaviour that is not settled yet (surface 4.6).
//!
//! Writes: nothing. Reads: the text of `--feature-gates`.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Alpha,
    Beta,
}

impl Stage {
    /// As the metric `etcd_server_feature_enabled` labels it.
    pub fn label(self) -> &'static str {
        match self {
            Stage::Alpha => "ALPHA",
            Stage::Beta => "BETA",
        }
    }
}

/// One switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gate {
    pub name: &'static str,
    pub stage: Stage,
    pub is_default_on: bool,
}

const fn alpha(name: &'static str) -> Gate {
    Gate { name, stage: Stage::Alpha, is_default_on: false }
}

const fn beta(name: &'static str, is_default_on: bool) -> Gate {
    Gate { name, stage: Stage::Beta, is_default_on }
}

const ALL_ALPHA: &str = "AllAlpha";
const ALL_BETA: &str = "AllBeta";

/// Every gate, by name.
pub const GATES: &[Gate] = &[
    alpha(ALL_ALPHA),
    beta(ALL_BETA, false),
    alpha("CompactHashCheck"),
    beta("FastLeaseKeepAlive", true),
    alpha("InitialCorruptCheck"),
    alpha("LeaseCheckpoint"),
    alpha("LeaseCheckpointPersist"),
    alpha("PriorityRequest"),
    alpha("SetMemberLocalAddr"),
    alpha("StopGRPCServiceOnDefrag"),
    beta("TxnModeWriteWithSharedBuffer", true),
];

/// Which gates are open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gates {
    open: Vec<bool>,
}

impl Default for Gates {
    fn default() -> Self {
        Gates { open: GATES.iter().map(|gate| gate.is_default_on).collect() }
    }
}

impl Gates {
    /// Reads `A=true,B=false`. `AllAlpha` and `AllBeta` decide for every gate of their stage that is not named itself.
    pub fn read(text: &str) -> Result<Gates, String> {
        let mut named: Vec<Option<bool>> = vec![None; GATES.len()];
        for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            let Some((name, value)) = pair.split_once('=') else {
                return Err(format!("missing bool value for {pair}"));
            };
            let (name, value) = (name.trim(), value.trim());
            let Some(at) = GATES.iter().position(|gate| gate.name == name) else {
                return Err(format!("unrecognized feature gate: {name}"));
            };
            named[at] = Some(match value {
                "1" | "t" | "T" | "true" | "TRUE" | "True" => true,
                "0" | "f" | "F" | "false" | "FALSE" | "False" => false,
                _ => return Err(format!("invalid value of {pair}, err: strconv.ParseBool: parsing {value:?}: invalid syntax")),
            });
        }
        let stage_wide = |stage: Stage| {
            let name = if stage == Stage::Alpha { ALL_ALPHA } else { ALL_BETA };
            GATES.iter().position(|gate| gate.name == name).and_then(|at| named[at]).filter(|&is_open| is_open)
        };
        let open =
            GATES.iter().zip(&named).map(|(gate, value)| value.or_else(|| stage_wide(gate.stage)).unwrap_or(gate.is_default_on)).collect();
        Ok(Gates { open })
    }

    /// Whether the gate of this name is open; false for a name that is none.
    pub fn is_open(&self, name: &str) -> bool {
        self.iter().any(|(gate, is_open)| gate.name == name && is_open)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&'static Gate, bool)> + '_ {
        GATES.iter().zip(self.open.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gates_not_named_keep_their_default() {
        let gates = Gates::read("LeaseCheckpoint=true,FastLeaseKeepAlive=false").unwrap();
        assert!(gates.is_open("LeaseCheckpoint") && gates.is_open("TxnModeWriteWithSharedBuffer"));
        assert!(!gates.is_open("FastLeaseKeepAlive") && !gates.is_open("LeaseCheckpointPersist"));
    }

    #[test]
    fn a_stage_wide_gate_spares_the_gates_named_beside_it() {
        let gates = Gates::read("AllAlpha=true,CompactHashCheck=false").unwrap();
        assert!(gates.is_open("PriorityRequest") && !gates.is_open("CompactHashCheck"));
    }

    #[test]
    fn a_wrong_gate_is_named_in_the_error() {
        for (text, error) in [
            ("Foo=true", "unrecognized feature gate: Foo"),
            ("LeaseCheckpoint", "missing bool value for LeaseCheckpoint"),
            ("AllAlpha=x", "invalid value of AllAlpha=x, err: strconv.ParseBool: parsing \"x\": invalid syntax"),
        ] {
            assert_eq!(Gates::read(text), Err(error.to_owned()));
        }
    }
}
