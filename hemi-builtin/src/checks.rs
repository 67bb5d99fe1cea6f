//! Checks of nodes.

mod ask;
mod grpc_check;
mod http_check;
mod mysql_check;
mod pgsql_check;
mod redis_check;

pub use grpc_check::{GrpcCheck, GrpcCheckConfig};
pub use http_check::{HttpCheck, HttpCheckConfig};
pub use mysql_check::{MysqlCheck, MysqlCheckConfig};
pub use pgsql_check::PgsqlCheck;
pub use redis_check::RedisCheck;
