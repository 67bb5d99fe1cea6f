//! What a CA answers with, in JSON (RFC 8555, 7.1).

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;

/// Where a CA is asked for what (RFC 8555, 7.1.1).
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Directory {
    /// For the first nonce.
    pub new_nonce: String,
    /// For accounts.
    pub new_account: String,
    /// For orders.
    pub new_order: String,
    /// For when to renew (RFC 9773), if the CA tells.
    #[serde(default)]
    pub renewal_info: Option<String>,
    /// What there is to know besides.
    #[serde(default)]
    pub meta: Meta,
}

/// What there is to know about a CA.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Meta {
    /// Whether accounts must be bound to what the CA knows otherwise.
    pub external_account_required: bool,
    /// Kinds of certificates, and what they are.
    pub profiles: BTreeMap<String, String>,
}

/// An account.
#[derive(Clone, Debug, Deserialize)]
pub struct Account {
    /// `"valid"` if it may be used.
    pub status: String,
}

/// What an identifier names.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Identifier {
    /// `"dns"`, most often.
    #[serde(rename = "type")]
    pub kind: String,
    /// A host, without `*.`.
    pub value: String,
}

/// How far an order, an authorization or a challenge has come (RFC 8555, 7.1.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Something is to be proved.
    Pending,
    /// All was proved: the order is to be finalized.
    Ready,
    /// The CA is at work.
    Processing,
    /// Done.
    Valid,
    /// Failed.
    Invalid,
    /// Given up by us.
    Deactivated,
    /// Too old.
    Expired,
    /// Taken back by the CA.
    Revoked,
}

/// An order of a certificate.
#[derive(Clone, Debug, Deserialize)]
pub struct Order {
    /// How far it has come.
    pub status: State,
    /// What is to be proved.
    #[serde(default)]
    pub authorizations: Vec<String>,
    /// Where to send what is to be signed.
    pub finalize: String,
    /// Where the certificate is.
    #[serde(default)]
    pub certificate: Option<String>,
    /// Why it failed.
    #[serde(default)]
    pub error: Option<Problem>,
}

/// What is to be done next for an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Prove that the names are ours.
    Prove,
    /// Send what is to be signed.
    Finalize,
    /// Wait for the CA.
    Wait,
    /// Fetch the certificate from this URL.
    Fetch(String),
    /// Nothing: it failed.
    Failed,
}

impl Order {
    /// What is to be done next.
    #[must_use]
    pub fn step(&self) -> Step {
        match (self.status, &self.certificate) {
            (State::Pending, _) => Step::Prove,
            (State::Ready, _) => Step::Finalize,
            (State::Processing, _) => Step::Wait,
            (State::Valid, Some(url)) => Step::Fetch(url.clone()),
            _ => Step::Failed,
        }
    }
}

/// What is to be proved about a name.
#[derive(Clone, Debug, Deserialize)]
pub struct Authorization {
    /// The name.
    pub identifier: Identifier,
    /// How far it has come.
    pub status: State,
    /// Ways to prove it.
    #[serde(default)]
    pub challenges: Vec<Challenge>,
}

impl Authorization {
    /// Why it failed, if a challenge tells.
    #[must_use]
    pub fn error(&self) -> Option<&Problem> {
        self.challenges.iter().find_map(|challenge| challenge.error.as_ref())
    }
}

/// A way to prove that a name is ours.
#[derive(Clone, Debug, Deserialize)]
pub struct Challenge {
    /// `"http-01"`, `"tls-alpn-01"`, `"dns-01"` or another.
    #[serde(rename = "type")]
    pub kind: String,
    /// Where the CA is told to look.
    pub url: String,
    /// What the answer is made of.
    #[serde(default)]
    pub token: String,
    /// Why it failed.
    #[serde(default)]
    pub error: Option<Problem>,
}

/// What a CA has against a request (RFC 9457; RFC 8555, 6.7).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Problem {
    /// A URN, mostly.
    #[serde(rename = "type")]
    pub kind: String,
    /// In words.
    pub detail: String,
    /// For single names.
    pub subproblems: Vec<Self>,
}

impl Problem {
    /// Whether it is of this kind, such as `"badNonce"`.
    #[must_use]
    pub fn is(&self, kind: &str) -> bool {
        self.short() == kind
    }

    fn short(&self) -> &str {
        self.kind.strip_prefix("urn:ietf:params:acme:error:").unwrap_or(&self.kind)
    }
}

/// As a line of a log, without control characters, and not too long.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |text: &str| {
            let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
            plain.take(400).collect::<String>()
        };
        write!(f, "{}: {}", plain(self.short()), plain(&self.detail))?;
        self.subproblems.iter().take(3).try_for_each(|problem| {
            write!(f, "; {}: {}", plain(problem.short()), plain(&problem.detail))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_tells_what_is_next() {
        let order = |status: &str, rest: &str| {
            let text = format!(r#"{{"status":"{status}","finalize":"f","x":[]{rest}}}"#);
            serde_json::from_str::<Order>(&text).unwrap().step()
        };
        assert_eq!(order("pending", r#","authorizations":["a"]"#), Step::Prove);
        assert_eq!(order("ready", ""), Step::Finalize);
        assert_eq!(order("processing", ""), Step::Wait);
        assert_eq!(order("valid", r#","certificate":"c""#), Step::Fetch("c".into()));
        assert_eq!(order("valid", ""), Step::Failed);
        assert_eq!(order("invalid", r#","error":{"type":"t"}"#), Step::Failed);
    }

    #[test]
    fn problems_are_told_in_a_line() {
        let text = r#"{"type":"urn:ietf:params:acme:error:badNonce","detail":"a\nb","status":400,
            "subproblems":[{"type":"x","detail":"y","identifier":{}}]}"#;
        let problem: Problem = serde_json::from_str(text).unwrap();
        assert!(problem.is("badNonce"));
        assert_eq!(problem.to_string(), "badNonce: a b; x: y");
        let text = r#"{"identifier":{"type":"dns","value":"a.test"},"status":"invalid","challenges":[
            {"type":"dns-01","url":"u"},{"type":"http-01","url":"u","token":"t","error":{"detail":"d"}}]}"#;
        let authorization: Authorization = serde_json::from_str(text).unwrap();
        assert_eq!(authorization.error().unwrap().detail, "d");
        assert_eq!(authorization.status, State::Invalid);
    }
}
