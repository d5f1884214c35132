//! The control socket served: who may speak, one order a line, one answer a line.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use serde_json::{Value, json};
use smol::Timer;

use super::{Answer, Operator, Order, Refused};
use crate::core::reason::Reason;
use crate::drive::control::{ControlConnection, ControlListener, LineError};

impl Operator {
    /// Serves the socket until the process ends.
    pub async fn serve(self: Arc<Self>, listener: Arc<ControlListener>) {
        let open = Arc::new(AtomicUsize::new(0));
        loop {
            let connection = match listener.accept().await {
                Ok(connection) => connection,
                Err(error) => {
                    log::warn!("control socket: cannot accept: {error}");
                    Timer::after(PAUSE).await;
                    continue;
                }
            };
            open.fetch_add(1, Relaxed);
            let (operator, open) = (self.clone(), open.clone());
            let executor = self.hub.executor.clone();
            executor
                .spawn(async move {
                    let full = open.load(Relaxed) > CONNECTIONS_MAX;
                    operator.attend(connection, full).await;
                    open.fetch_sub(1, Relaxed);
                })
                .detach();
        }
    }

    async fn attend(self: &Arc<Self>, mut connection: ControlConnection, full: bool) {
        let caller = connection.caller;
        let name = format!("uid {} (pid {})", caller.uid, caller.pid);
        if !self.may_speak(caller.uid) {
            let text = "the control socket is for root and the user of the node only";
            self.hub.refused(Reason::ControlRefused, &name, text);
            let text = format!("refused: you are uid {}, and {text}; use sudo", caller.uid);
            let _ = connection.say(written(Err(Refused { status: 77, text })), TIME_MAX).await;
            return;
        }
        if full {
            let text = format!("{CONNECTIONS_MAX} connections to the control socket are open");
            self.hub.refused(Reason::ControlConnectionsLimit, &name, &text);
            let _ = connection.say(written(Err(Refused { status: 75, text })), TIME_MAX).await;
            return;
        }
        loop {
            let answer = match connection.line(ORDER_BYTES_MAX, TIME_MAX).await {
                Ok(line) => match serde_json::from_slice::<Order>(&line) {
                    Ok(order) => self.carry_out(order).await,
                    Err(error) => {
                        self.hub.refused(Reason::ControlMalformed, &name, &error.to_string());
                        Err(Refused { status: 2, text: format!("this is no order: {error}") })
                    }
                },
                Err(LineError::TooLong) => {
                    let text = format!("an order has at most {ORDER_BYTES_MAX} bytes");
                    self.hub.refused(Reason::ControlMalformed, &name, &text);
                    let _ = connection.say(written(Err(Refused { status: 2, text })), TIME_MAX).await;
                    return;
                }
                Err(LineError::TimedOut) => {
                    self.hub.refused(Reason::ControlMalformed, &name, "no order came in time");
                    return;
                }
                Err(LineError::Ended | LineError::Io(_)) => return,
            };
            if let Err(error) = connection.say(written(answer), TIME_MAX).await {
                log::debug!("control socket: {name} does not read: {error:?}");
                return;
            }
        }
    }

    fn may_speak(&self, uid: u32) -> bool {
        uid == 0 || uid == rustix::process::geteuid().as_raw()
    }
}

fn written(answer: Answer) -> Vec<u8> {
    let document: Value = match answer {
        Ok(result) => json!({ "ok": true, "result": result }),
        Err(Refused { status, text }) => json!({ "ok": false, "status": status, "error": text }),
    };
    document.to_string().into_bytes()
}

/// An operator needs one; a watch, and a script beside it, a few.
const CONNECTIONS_MAX: usize = 16;
const ORDER_BYTES_MAX: usize = 64 << 10;
/// For an order to come, and for an answer to be read.
const TIME_MAX: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(100);
