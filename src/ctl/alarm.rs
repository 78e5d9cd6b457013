//! `alarm`: what members complain about.

use super::{Failure, session::Session};
use crate::{
    print::Answer,
    wire::etcdserverpb::{AlarmRequest, alarm_request::AlarmAction},
};

/// Lists and disarms alarms
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true, disable_help_subcommand = true, override_usage = "etcdctl alarm <command>")]
pub struct Alarm {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Disarms all alarms
    #[command(override_usage = "etcdctl alarm disarm")]
    Disarm {
        #[arg(hide = true)]
        args: Vec<String>,
    },
    /// Lists all alarms
    #[command(override_usage = "etcdctl alarm list")]
    List {
        #[arg(hide = true)]
        args: Vec<String>,
    },
}

impl Alarm {
    pub async fn run(self, session: Session<'_>) -> Result<(), Failure> {
        let (name, args, action) = match &self.command {
            Command::Disarm { args } => ("disarm", args, AlarmAction::Deactivate),
            Command::List { args } => ("list", args, AlarmAction::Get),
        };
        if !args.is_empty() {
            return Err(Failure::bad_args(format!("alarm {name} command accepts no arguments")));
        }
        let (client, timeout) = (session.client().await?, session.timeout()?);
        let list = AlarmRequest { action: AlarmAction::Get.into(), ..Default::default() };
        let mut answer = client.call(list, timeout).await.map_err(Failure::general)?;
        if action == AlarmAction::Deactivate {
            // A member disarms one alarm of one member at a time.
            // Quirk: the sum of those answers has no header (client/v3/maintenance.go), pinned by
            // `disarming_no_alarm_has_an_answer_without_header`.
            let alarms = std::mem::take(&mut answer).alarms;
            for alarm in alarms {
                let disarm = AlarmRequest { action: action.into(), member_id: alarm.member_id, alarm: alarm.alarm };
                answer.alarms.extend(client.call(disarm, timeout).await.map_err(Failure::general)?.alarms);
            }
        }
        session.print(Answer::Alarm(&answer))
    }
}
