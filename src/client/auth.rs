//! Who the client is: a name and password turned into a token, or a token given as it is (CLI-8).
//!
//! Writes: the client's token. Reads: nothing.

use tonic::{Status, metadata::AsciiMetadataValue};

use super::{Client, Connection, Error};
use crate::wire::{
    error::Error as Rejection,
    etcdserverpb::{AuthenticateRequest, AuthenticateResponse},
};

#[derive(Clone)]
pub enum Auth {
    Password { name: String, password: String },
    Token(String),
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Auth::Password { name, .. } => write!(f, "Password({name})"),
            Auth::Token(_) => f.write_str("Token"),
        }
    }
}

impl Client {
    /// The first token, within the dial timeout.
    pub(super) async fn authenticate_first(&self) -> Result<(), Error> {
        match &self.options.auth {
            None => Ok(()),
            Some(Auth::Token(token)) => self.keep_token(token),
            Some(Auth::Password { .. }) => {
                let authenticate = async {
                    let connection = self.connection().await;
                    self.authenticate(&connection).await.map_err(Error::from)
                };
                tokio::time::timeout(self.options.dial_timeout, authenticate).await.unwrap_or(Err(Error::DeadlineExceeded))
            }
        }
    }

    /// A new token for the name and password, if there are any.
    pub(super) async fn authenticate(&self, connection: &Connection) -> Result<(), Status> {
        let Some(Auth::Password { name, password }) = &self.options.auth else { return Ok(()) };
        self.state().token = None;
        let request = self.request(AuthenticateRequest { name: name.clone(), password: password.clone() });
        let answer: Result<AuthenticateResponse, Status> =
            self.unary(connection.channel.clone(), request, "/etcdserverpb.Auth/Authenticate").await;
        match answer {
            Ok(response) => self.keep_token(&response.token).map_err(|e| Status::internal(e.to_string())),
            // Nobody asks who we are.
            Err(status) if Rejection::from_text(status.message()) == Some(Rejection::AuthNotEnabled) => Ok(()),
            Err(status) => Err(status),
        }
    }

    fn keep_token(&self, token: &str) -> Result<(), Error> {
        let value = AsciiMetadataValue::try_from(token)
            .map_err(|_| Error::Options("the authentication token has characters that cannot be sent, check --auth-jwt-token".into()))?;
        self.state().token = Some(value);
        Ok(())
    }

    /// Whether a new token could turn this refusal into an answer.
    pub(super) fn wants_new_token(&self, status: &Status) -> bool {
        matches!(self.options.auth, Some(Auth::Password { .. }))
            && matches!(
                Rejection::from_text(status.message()),
                Some(Rejection::InvalidAuthToken | Rejection::AuthOldRevision | Rejection::UserEmpty)
            )
    }
}
