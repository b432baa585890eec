//! What a start shows of its progress: a line on the terminal, or lines in the log.
//!
//! On a terminal one line of standard error is drawn again and again, and erased at the end.
//! Elsewhere the log gets a line every few seconds, so that a short start says nothing of it.
//!
//! Deliberately absent: the numbers themselves (`commands::loading`), which INFO shows too.

use crate::commands::NodeHub;
use crate::commands::loading::LoadProgress;
use crate::limits::{LOAD_DRAW_MS, LOAD_REPORT_MS, LOG_BLOCK_BYTES};
use crate::sys::disk::{AlignedBuf, Disk, OpenMode};
use crate::wal::names;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Shows the progress until it is dropped.
pub(super) struct Shown {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Begins to show how far the start of `hub` is.
pub(super) fn show(hub: &Arc<NodeHub>) -> Shown {
    let hub = Arc::clone(hub);
    let (stop, stopped) = channel();
    let on_terminal = io::stderr().is_terminal();
    let every = Duration::from_millis(if on_terminal { LOAD_DRAW_MS } else { LOAD_REPORT_MS });
    let body = move || {
        let mut view = if on_terminal { View::line() } else { View::Log };
        let mut next = Instant::now() + every;
        while let Err(RecvTimeoutError::Timeout) =
            stopped.recv_timeout(next.saturating_duration_since(Instant::now()))
        {
            view.update(&hub.service.loading.progress());
            next += every;
        }
        view.clear();
    };
    // Without the thread the start is as good, only nobody sees it.
    let thread = std::thread::Builder::new().name("progress".into()).spawn(body).ok();
    Shown { stop: Some(stop), thread }
}

impl Drop for Shown {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It only draws: if that failed, nothing is lost.
            let _ = thread.join();
        }
    }
}

/// Where progress is shown.
enum View {
    Terminal(ProgressBar),
    Log,
}

impl View {
    fn line() -> View {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        let style = "loading {percent:>3} % [{bar:30}] {bytes}/{total_bytes} {msg}";
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style.progress_chars("=> "));
        }
        View::Terminal(bar)
    }

    fn update(&mut self, progress: &LoadProgress) {
        let LoadProgress { total_bytes, loaded_bytes, percent, .. } = *progress;
        if total_bytes == 0 {
            return;
        }
        let speed = speed(progress);
        match self {
            View::Terminal(bar) => {
                bar.set_length(total_bytes);
                bar.set_message(speed);
                bar.set_position(loaded_bytes);
                bar.tick();
            }
            View::Log => tracing::info!("loading: {percent:.0} %, {speed}"),
        }
    }

    fn clear(&self) {
        if let View::Terminal(bar) = self {
            bar.finish_and_clear();
        }
    }
}

/// Speed and time left, for people.
fn speed(progress: &LoadProgress) -> String {
    let LoadProgress { bytes_per_s, eta_s, .. } = *progress;
    format!("{:.1} MB/s, {eta_s} s left", bytes_per_s as f64 / 1e6)
}

/// Bytes of the log from position `from` on. Files that were prepared and never written to are
/// left out: they do not begin with a commit of their own.
pub(super) fn log_bytes(disk: &dyn Disk, from: u64) -> io::Result<u64> {
    let mut bytes = 0;
    let mut block = AlignedBuf::zeroed(LOG_BLOCK_BYTES as usize);
    for (name, len) in names::list(disk)? {
        let end = name.start + len;
        if end <= from || disk.open(&name.text(), OpenMode::Read)?.read_at(&mut block, 0)? < 64 {
            continue;
        }
        let begun = block[8..16] == name.start.to_le_bytes()
            && block[40..44] == name.generation.to_le_bytes();
        bytes += if begun { end - from.max(name.start) } else { 0 };
    }
    Ok(bytes)
}
