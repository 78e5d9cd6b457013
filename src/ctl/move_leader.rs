//! `move-leader`: another member shall lead.

use super::{Failure, number, session::Session};
use crate::{
    print::Answer,
    wire::etcdserverpb::{MoveLeaderRequest, StatusRequest},
};

/// Hands leadership to another member
#[derive(Debug, clap::Args)]
#[command(override_usage = "etcdctl move-leader <memberID>")]
pub struct MoveLeader {
    #[arg(value_name = "memberID", num_args = 0..)]
    args: Vec<String>,
}

impl MoveLeader {
    pub async fn run(self, session: Session<'_>) -> Result<(), Failure> {
        let [target] = &self.args[..] else { return Err(Failure::bad_args("move-leader command needs 1 argument")) };
        let target = number::parse_id(target).map_err(Failure::bad_args)?;
        // Only the leader takes the call.
        for endpoint in session.endpoints()? {
            let client = session.client_to(&endpoint).await?;
            let status = client.call(StatusRequest {}, session.timeout()?).await.map_err(Failure::general)?;
            let member = status.header.map_or(0, |header| header.member_id);
            if member != status.leader {
                continue;
            }
            let response = &client.call(MoveLeaderRequest { target_id: target }, session.timeout()?).await.map_err(Failure::general)?;
            return session.print(Answer::MoveLeader { from: member, to: target, response });
        }
        Err(Failure::bad_args(format!("no leader endpoint given at [{}]", session.endpoints()?.join(" "))))
    }
}
