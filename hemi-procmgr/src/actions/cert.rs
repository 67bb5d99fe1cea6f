//! `cert`: makes certificates and requests for them, and shows what files of them hold.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use hemi_proto::date::{ISO8601_LEN, format_iso8601};
use hemi_proto::x509::Certificate;
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use sha2::{Digest as _, Sha256};

use crate::{Call, Failure, term};

/// How long a certificate that is made here is valid, unless told otherwise.
const DAYS: u64 = 90;

const DAY: Duration = Duration::from_secs(24 * 3600);

pub(crate) fn cert(Call { options, .. }: &Call<'_>) -> Result<(), Failure> {
    match options.operands.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["self-signed", first, ref others @ ..] => {
            self_signed(first, others, options.days.unwrap_or(DAYS))
        }
        ["csr", first, ref others @ ..] => request(first, others),
        ["info", first, ref others @ ..] => info(first, others),
        ["list", dir] => list(Path::new(dir)),
        _ => Err(Failure::usage(
            "say `cert self-signed NAME...`, `cert csr NAME...`, `cert info FILE...` or `cert list DIR`",
        )),
    }
}

/// Makes a certificate that only those believe who are told to.
fn self_signed(first: &str, others: &[&str], days: u64) -> Result<(), Failure> {
    let (mut params, key) = begin(first, others)?;
    let now = SystemTime::now();
    // Clocks differ a little.
    params.not_before = (now - DAY / 24).into();
    let until = now.checked_add(DAY * u32::try_from(days).unwrap_or(u32::MAX));
    params.not_after = until.ok_or_else(|| format!("{days} days are too many"))?.into();
    let made = params.self_signed(&key).map_err(cannot)?;
    write_both(first, "pem", &made.pem(), &key)
}

/// Makes a request for a CA to sign (RFC 2986).
fn request(first: &str, others: &[&str]) -> Result<(), Failure> {
    let (params, key) = begin(first, others)?;
    let made = params.serialize_request(&key).and_then(|request| request.pem());
    write_both(first, "csr", &made.map_err(cannot)?, &key)
}

fn begin(first: &str, others: &[&str]) -> Result<(CertificateParams, KeyPair), Failure> {
    let names: Vec<_> = [first].iter().chain(others).map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).map_err(cannot)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, first);
    params.extended_key_usages = [ExtendedKeyUsagePurpose::ServerAuth].to_vec();
    Ok((params, KeyPair::generate().map_err(cannot)?))
}

fn cannot(e: rcgen::Error) -> String {
    format!("cannot make it: {e}")
}

/// Writes what was made and its key beside it, which nobody else may read. Nothing is overwritten.
fn write_both(name: &str, ending: &str, text: &str, key: &KeyPair) -> Result<(), Failure> {
    let name = name.replace('*', "_").replace(['/', ':'], "-");
    for (ending, text, mode) in [("key", &*key.serialize_pem(), 0o600), (ending, text, 0o644)] {
        let file = format!("{name}.{ending}");
        let opened = File::options().write(true).create_new(true).mode(mode).open(&file);
        let written = opened.and_then(|mut file| file.write_all(text.as_bytes()));
        written.map_err(|e| format!("cannot write {file}: {e}"))?;
        term::say(&format!("{file}\n"));
    }
    Ok(())
}

/// Shows the certificates in files.
fn info(first: &str, others: &[&str]) -> Result<(), Failure> {
    for file in [first].iter().chain(others) {
        let read = |e: &dyn std::fmt::Display| format!("cannot read {file}: {e}");
        let mut found = false;
        for der in CertificateDer::pem_file_iter(file).map_err(|e| read(&e))? {
            let der = der.map_err(|e| read(&e))?;
            let cert =
                Certificate::parse(&der).ok_or_else(|| read(&"a certificate is malformed"))?;
            term::say(&show(file, &cert, &der));
            found = true;
        }
        if !found {
            return Err(format!("there is no certificate in {file}").into());
        }
    }
    Ok(())
}

/// Tells what is kept in the directory of an `acme`.
fn list(dir: &Path) -> Result<(), Failure> {
    let read = |e: io::Error| format!("cannot read {}: {e}", dir.display());
    let mut lines = Vec::new();
    for file in fs::read_dir(dir.join("certificates")).map_err(read)? {
        let path = file.map_err(read)?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        let Some(name) = name.strip_suffix(".pem") else { continue };
        let text = fs::read_to_string(&path)
            .map_err(|e| format!("cannot read {}: {e}", path.display()))?;
        let ca = text.lines().find_map(|line| line.strip_prefix("ca: ")).unwrap_or("an unknown CA");
        let der = CertificateDer::from_pem_slice(text.as_bytes()).ok();
        let until = der.as_ref().and_then(|der| Certificate::parse(der)).map(|cert| cert.not_after);
        let until = until.ok_or_else(|| format!("{} holds no certificate", path.display()))?;
        let left = moment(until).duration_since(SystemTime::now()).unwrap_or_default();
        let state = match left.as_secs() / DAY.as_secs() {
            _ if left.is_zero() => "EXPIRED".to_owned(),
            1 => "1 day left".to_owned(),
            days => format!("{days} days left"),
        };
        let name = name.replace('_', "*");
        lines.push((until, format!("{name}  {} ({state})  from {ca}\n", date(until))));
    }
    lines.sort();
    lines.iter().for_each(|(_, line)| term::say(line));
    Ok(())
}

fn show(file: &str, cert: &Certificate<'_>, der: &[u8]) -> String {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let names: Vec<_> = cert.names.iter().map(ToString::to_string).collect();
    let now = SystemTime::now();
    let state = match (moment(cert.not_before) > now, moment(cert.not_after) < now) {
        (true, _) => "not valid yet",
        (_, true) => "EXPIRED",
        _ => "valid now",
    };
    let mut text = format!("{file}\n");
    for (what, value) in [
        ("subject", cert.subject.to_string()),
        ("names", names.join(", ")),
        ("issuer", cert.issuer.to_string()),
        ("valid from", date(cert.not_before)),
        ("valid until", format!("{} ({state})", date(cert.not_after))),
        ("serial", hex(cert.serial)),
        ("SHA-256", hex(&Sha256::digest(der))),
        ("may sign", if cert.is_ca { "yes" } else { "no" }.to_owned()),
    ] {
        let _ = writeln!(text, "  {what:12} {value}");
    }
    text
}

fn moment(seconds: i64) -> SystemTime {
    let since = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
    SystemTime::UNIX_EPOCH.checked_add(since).unwrap_or(SystemTime::UNIX_EPOCH)
}

fn date(seconds: i64) -> String {
    let text: [u8; ISO8601_LEN] = format_iso8601(moment(seconds));
    String::from_utf8_lossy(&text).into_owned()
}
