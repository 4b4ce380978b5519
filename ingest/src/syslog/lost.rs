//! Datagrams that the kernel dropped because its buffer was full: `/proc/net/udp` counts them by socket.
//!
//! In: a socket. Out: `mozdef_syslog_udp_lost_total`. Never: a guess; where the kernel does not tell, it is said once.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use model::metrics::metrics;
use stream::shutdown::Shutdown;
use tokio::net::UdpSocket;

/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// The kernel's tables.
const TABLES: [&str; 2] = ["/proc/net/udp", "/proc/net/udp6"];

/// Counts until shutdown, and once more then.
pub(super) async fn count(socket: Arc<UdpSocket>, listener: String, mut shutdown: Shutdown) {
    let counter = metrics().syslog_udp_lost.with_label_values(&[&listener]);
    let inode = match rustix::fs::fstat(socket.as_fd()) {
        Ok(status) => status.st_ino,
        Err(error) => {
            tracing::warn!(listener, %error, "lost datagrams cannot be counted");
            return;
        }
    };
    let mut known = 0;
    loop {
        let last = tokio::select! {
            () = shutdown.wait() => true,
            () = tokio::time::sleep(LOOK_EVERY) => false,
        };
        match dropped(inode).await {
            Some(dropped) => {
                let more = dropped.saturating_sub(known);
                known = dropped;
                counter.inc_by(more);
                if more > 0 {
                    tracing::warn!(
                        listener,
                        lost = more,
                        "datagrams were lost: the kernel's buffer was full"
                    );
                }
            }
            None => tracing::debug!(listener, "the kernel does not tell what it dropped"),
        }
        if last {
            return;
        }
    }
}

async fn dropped(inode: u64) -> Option<u64> {
    for table in TABLES {
        let text = tokio::fs::read_to_string(table).await.unwrap_or_default();
        if let Some(drops) = drops_of(&text, inode) {
            return Some(drops);
        }
    }
    None
}

/// Fields of a row: … 9 inode, 10 references, 11 pointer, 12 drops, counted from 0.
fn drops_of(table: &str, inode: u64) -> Option<u64> {
    let inode = inode.to_string();
    let row = table.lines().skip(1).find(|row| row.split_ascii_whitespace().nth(9) == Some(&inode))?;
    row.split_ascii_whitespace().nth(12)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::drops_of;

    #[test]
    fn the_row_of_the_socket_is_read() {
        let table = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n\
  469: 0100007F:0202 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 27018 2 00000000d4e8f4f5 17        \n\
 1129: 00000000:1770 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 27019 2 000000006f1a0a9b 0         \n";
        assert_eq!(drops_of(table, 27018), Some(17));
        assert_eq!(drops_of(table, 27019), Some(0));
        assert_eq!((drops_of(table, 1), drops_of("", 1)), (None, None));
    }
}
