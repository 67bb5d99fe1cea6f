//! The server that `connectconformance` starts: it reads on its input how it is to be, says on its output where it is, and
//! serves until it is killed.

#![forbid(unsafe_code)]

mod service;

use std::error::Error;
use std::io::{Read, Write};
use std::path::Path;

use hemi_core::config::Source;
use hemi_core::listen::Address;
use hemi_core::server::ServerKind;
use hemi_core::{Engine, Registry};
use hemi_rpc::GrpcRegistry;
use prost::Message;

use self::proto::{ServerCompatRequest, ServerCompatResponse};
use self::service::Conformance;

/// Made of the `.proto` files.
#[allow(
    clippy::all,
    clippy::pedantic,
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "it is generated"
)]
mod proto {
    tonic::include_proto!("connectrpc.conformance.v1");

    pub(crate) const DESCRIPTORS: &[u8] =
        include_bytes!(concat!(env!("OUT_DIR"), "/conformance.bin"));
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut length = [0; 4];
    std::io::stdin().read_exact(&mut length)?;
    let mut asked = vec![0; u32::from_be_bytes(length) as usize];
    std::io::stdin().read_exact(&mut asked)?;
    let asked = ServerCompatRequest::decode(&*asked)?;
    let directory = tempdir()?;
    let mut registry = Registry::new();
    hemi_rpc::register(&mut registry);
    registry.grpc_service::<Conformance>();
    let mut engine = Engine::start(registry)?;
    let stage = engine.load(&Source::text("conformance", config(&asked, &directory)?))?;
    let server = stage.find::<ServerKind>("main").ok_or("there is no server")?;
    let Some(Address::Tcp(address)) = server.addresses().first().cloned() else {
        return Err("the server has no address".into());
    };
    let pem_cert = asked.server_creds.map(|creds| creds.cert).unwrap_or_default();
    let host = address.ip().to_string();
    let answer = ServerCompatResponse { host, port: address.port().into(), pem_cert };
    let answer = answer.encode_to_vec();
    let mut out = std::io::stdout();
    out.write_all(&u32::try_from(answer.len())?.to_be_bytes())?;
    out.write_all(&answer)?;
    out.flush()?;
    // What is in it was read.
    std::fs::remove_dir_all(&directory)?;
    loop {
        std::thread::park();
    }
}

/// The config that is asked for.
fn config(asked: &ServerCompatRequest, directory: &Path) -> Result<String, Box<dyn Error>> {
    let mut more = String::new();
    if let Some(creds) = &asked.server_creds {
        let write = |name: &str, bytes: &[u8]| -> std::io::Result<String> {
            let path = directory.join(name);
            std::fs::write(&path, bytes)?;
            Ok(path.display().to_string())
        };
        let (cert, key) = (write("cert.pem", &creds.cert)?, write("key.pem", &creds.key)?);
        more +=
            &format!(".tlsMode = true\n.tlsCertificate = \"{cert}\"\n.tlsPrivateKey = \"{key}\"\n");
        if !asked.client_tls_cert.is_empty() {
            let ca = write("ca.pem", &asked.client_tls_cert)?;
            more += &format!(".tlsClientAuth = \"required\"\n.tlsClientCa = \"{ca}\"\n");
        }
    }
    if asked.message_receive_limit > 0 {
        more += &format!(".maxMessageSize = {}\n", asked.message_receive_limit);
    }
    Ok(format!(
        "stage {{\nconformance \"all\" {{}}\ngrpcServer \"main\" {{\n.address = \"127.0.0.1:0\"\n\
         .services = (\"all\")\n{more}}} }}"
    ))
}

/// A directory of its own.
fn tempdir() -> std::io::Result<std::path::PathBuf> {
    let path = std::env::temp_dir().join(format!("rpc-conformance-{}", std::process::id()));
    std::fs::create_dir_all(&path)?;
    Ok(path)
}
