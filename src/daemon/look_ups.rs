//! The sockets on which everybody may ask who somebody is, in the words of others: nscd's, and systemd's.

use std::sync::Arc;

use tokio::sync::watch;

use crate::config::Config;
use crate::manager::Manager;
use crate::nscd_server;
use crate::user_database_server::UserDatabaseServer;

/// Both of them, as far as the configuration wants them. Dropping this removes systemd's; nscd's goes with the event loop.
pub(super) struct LookUps {
    nscd: watch::Sender<()>,
    user_database: Option<UserDatabaseServer>,
}

impl LookUps {
    /// Serves them: when this is done the sockets are there. That one cannot be served is told, and services run all the same.
    pub(super) async fn serve(manager: &Arc<Manager>) -> Self {
        let (nscd, changed) = watch::channel(());
        tokio::spawn(nscd_server::keep(Arc::clone(manager), changed));
        // It begins now.
        tokio::task::yield_now().await;
        let wanted = manager.config().user_database_socket;
        let user_database = UserDatabaseServer::start(wanted)
            .inspect_err(|failure| tracing::warn!(%failure, "no socket for systemd's programs"))
            .ok();
        Self {
            nscd,
            user_database,
        }
    }

    /// The configuration was read again.
    pub(super) fn reload(&self, config: &Config) {
        self.nscd.send_replace(());
        if let Some(server) = &self.user_database {
            server.set(config.user_database_socket);
        }
    }
}
