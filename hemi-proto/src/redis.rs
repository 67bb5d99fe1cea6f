//! How connections of Redis begin (RESP2 and RESP3): the client speaks first, and says who it is by AUTH or HELLO, and which
//! database it wants by SELECT, before anything else.
//!
//! ```
//! use hemi_proto::redis::read;
//!
//! let said = b"*3\r\n$4\r\nAUTH\r\n$3\r\nmia\r\n$2\r\npw\r\n*2\r\n$6\r\nSELECT\r\n$1\r\n4\r\n";
//! let Ok(Some(startup)) = read(said) else { panic!("not a start-up") };
//! assert_eq!((&*startup.user, &*startup.database), ("mia", "4"));
//! ```

/// Bytes of a start-up, at most.
const MAX: usize = 16 << 10;

/// Arguments of a command that is part of a start-up, at most.
const ARGUMENTS: usize = 16;

/// Digits of a length, at most.
const DIGITS: usize = 10;

/// With what a client begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Startup {
    /// Who it is: `default` if it has named nobody.
    pub user: String,
    /// The number of its database: `0` if it has chosen none.
    pub database: String,
}

impl Default for Startup {
    fn default() -> Self {
        Self { user: "default".to_owned(), database: "0".to_owned() }
    }
}

/// Bytes that no client of Redis begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no client of Redis begins like that")]
pub struct NotRedis;

/// Reads what a client says first, up to where it asks for something else or has come to the end of a command; nothing is
/// taken. None while a command is not there as a whole.
///
/// # Errors
/// When it is no client of Redis, or says more than a start-up has.
pub fn read(bytes: &[u8]) -> Result<Option<Startup>, NotRedis> {
    let (mut startup, mut rest) = (Startup::default(), bytes);
    if rest.is_empty() {
        return Ok(None);
    }
    while !rest.is_empty() {
        match command(&mut rest)? {
            Command::Partial if bytes.len() > MAX => return Err(NotRedis),
            Command::Partial => return Ok(None),
            Command::Other => break,
            Command::Opening(arguments) => startup.hear(&arguments)?,
        }
    }
    Ok(Some(startup))
}

/// The answer that says what is wrong.
#[must_use]
pub fn encode_error(message: &str) -> Vec<u8> {
    format!("-ERR {message}\r\n").into_bytes()
}

impl Startup {
    /// Takes note of what a command says.
    fn hear(&mut self, arguments: &[&[u8]]) -> Result<(), NotRedis> {
        match arguments {
            [name, user, _] if is(name, "AUTH") => self.user = text(user)?,
            [name, database] if is(name, "SELECT") && database.iter().all(u8::is_ascii_digit) => {
                self.database = text(database)?;
            }
            [name, _version, options @ ..] if is(name, "HELLO") => self.hear_options(options)?,
            _ => {}
        }
        Ok(())
    }

    fn hear_options(&mut self, mut options: &[&[u8]]) -> Result<(), NotRedis> {
        loop {
            options = match options {
                [option, user, _, rest @ ..] if is(option, "AUTH") => {
                    self.user = text(user)?;
                    rest
                }
                [option, _, rest @ ..] if is(option, "SETNAME") => rest,
                _ => return Ok(()),
            };
        }
    }
}

/// What is at the front.
enum Command<'a> {
    /// One that belongs to a start-up, and its arguments.
    Opening(Vec<&'a [u8]>),
    /// Any other one.
    Other,
    /// Not all of one that may belong to it.
    Partial,
}

/// Takes a command of a start-up off the front.
fn command<'a>(rest: &mut &'a [u8]) -> Result<Command<'a>, NotRedis> {
    match rest.first() {
        Some(b'*') => {}
        // A line, as people type it.
        Some(b'\r' | b'\n' | b' '..=b'~') => return Ok(Command::Other),
        _ => return Err(NotRedis),
    }
    let Some(count) = length(rest, b'*')? else { return Ok(Command::Partial) };
    if count == 0 {
        return Ok(Command::Other);
    }
    let mut arguments = Vec::new();
    for nth in 0..count {
        let Some(len) = length(rest, b'$')? else { return Ok(Command::Partial) };
        if nth == 0 && len > ARGUMENTS {
            // No name of a start-up is as long as that.
            return Ok(Command::Other);
        }
        let Some((argument, after)) = rest.split_at_checked(len) else {
            return Ok(Command::Partial);
        };
        let opens = ["AUTH", "HELLO", "SELECT", "CLIENT"];
        if nth == 0 && (count > ARGUMENTS || !opens.iter().any(|name| is(argument, name))) {
            return Ok(Command::Other);
        }
        match after {
            [b'\r', b'\n', after @ ..] => *rest = after,
            [] | [b'\r'] => return Ok(Command::Partial),
            _ => return Err(NotRedis),
        }
        arguments.push(argument);
    }
    Ok(Command::Opening(arguments))
}

/// Takes a line with this sign and a length off the front; none if it is not there as a whole.
fn length(rest: &mut &[u8], sign: u8) -> Result<Option<usize>, NotRedis> {
    match rest.first() {
        None => return Ok(None),
        Some(first) if *first == sign => {}
        Some(_) => return Err(NotRedis),
    }
    let digits = rest[1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    if digits > DIGITS {
        return Err(NotRedis);
    }
    match &rest[1 + digits..] {
        [] | [b'\r'] => Ok(None),
        [b'\r', b'\n', after @ ..] => {
            let number = std::str::from_utf8(&rest[1..=digits]).map_err(|_| NotRedis)?;
            *rest = after;
            number.parse().map(Some).map_err(|_| NotRedis)
        }
        _ => Err(NotRedis),
    }
}

fn is(word: &[u8], name: &str) -> bool {
    word.eq_ignore_ascii_case(name.as_bytes())
}

fn text(word: &[u8]) -> Result<String, NotRedis> {
    std::str::from_utf8(word).map(str::to_owned).map_err(|_| NotRedis)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commands(text: &str) -> Vec<u8> {
        let mut out = Vec::new();
        for line in text.split(';') {
            let words: Vec<_> = line.split_whitespace().collect();
            out.extend(format!("*{}\r\n", words.len()).bytes());
            for word in words {
                out.extend(format!("${}\r\n{word}\r\n", word.len()).bytes());
            }
        }
        out
    }

    fn started(user: &str, database: &str) -> Result<Option<Startup>, NotRedis> {
        Ok(Some(Startup { user: user.to_owned(), database: database.to_owned() }))
    }

    #[test]
    fn start_ups() {
        for (text, user, database) in [
            ("AUTH secret", "default", "0"),
            ("AUTH mia secret", "mia", "0"),
            ("auth mia secret; select 3", "mia", "3"),
            ("HELLO 3", "default", "0"),
            (
                "HELLO 3 AUTH mia secret SETNAME x; CLIENT SETINFO LIB-NAME y; SELECT 12",
                "mia",
                "12",
            ),
            ("hello 2 setname auth auth mia secret", "mia", "0"),
            ("SELECT x", "default", "0"),
            ("SELECT 1; PING; SELECT 2", "default", "1"),
            ("PING; AUTH mia secret", "default", "0"),
            ("AUTH mia secret; AUTH tom secret", "tom", "0"),
        ] {
            let bytes = commands(text);
            assert_eq!(read(&bytes), started(user, database), "{text}");
        }
    }

    #[test]
    fn a_command_is_waited_for_until_it_is_there() {
        let (first, second) = (commands("AUTH mia secret"), commands("SELECT 3"));
        let bytes = [&first[..], &second].concat();
        for end in 0..bytes.len() {
            let expected = if end == first.len() { started("mia", "0") } else { Ok(None) };
            assert_eq!(read(&bytes[..end]), expected, "{end}");
        }
        // What is no part of a start-up is not.
        assert_eq!(read(b"*3\r\n$3\r\nSET"), started("default", "0"));
        assert_eq!(read(b"*2\r\n$5000\r\n"), started("default", "0"));
        assert_eq!(read(b"PING"), started("default", "0"));
    }

    #[test]
    fn what_is_none() {
        for bytes in [
            &b"\x16\x03\x01"[..],
            b"\0\0\0\x08\x04\xd2\x16\x2f",
            b"*x\r\n",
            b"*1\r\r\n",
            b"*1\r\n*1\r\n",
            b"*12345678901",
            b"*1\r\n$4\r\nAUTHx\r\n",
            b"*3\r\n$4\r\nAUTH\r\n$1\r\n\xff\r\n$1\r\nx\r\n",
        ] {
            assert_eq!(read(bytes), Err(NotRedis), "{bytes:?}");
        }
        let long = [b"*2\r\n$4\r\nAUTH\r\n$20000\r\n".to_vec(), vec![b'x'; MAX]].concat();
        assert_eq!(read(&long), Err(NotRedis));
    }
}
