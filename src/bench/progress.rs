//! A line of progress on a terminal; nothing where nobody looks.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::time::Duration;

/// The progress of a series of runs.
pub struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// Of `runs` runs; shown if standard error is a terminal and `shown` says so.
    pub fn new(runs: usize, shown: bool) -> Progress {
        let target = match shown && std::io::stderr().is_terminal() {
            true => ProgressDrawTarget::stderr_with_hz(8),
            false => ProgressDrawTarget::hidden(),
        };
        let bar = ProgressBar::with_draw_target(Some(runs as u64), target);
        let style = "{spinner} {pos}/{len} {bar:24} {elapsed}, about {eta} to go  {wide_msg}";
        // The template is ours and good; without it the bar has its own.
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(250));
        Progress { bar }
    }

    /// What goes on now.
    pub fn say(&self, what: &str) {
        self.bar.set_message(what.to_owned());
    }

    /// One run is over.
    pub fn step(&self) {
        self.bar.inc(1);
    }

    /// Prints text without disturbing the line.
    pub fn print(&self, text: &str) {
        self.bar.suspend(|| println(text));
    }

    /// Removes the line.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// Prints a line. A reader that has seen enough (`| head`) is no failure.
pub fn println(text: &str) {
    use std::io::Write;
    _ = writeln!(std::io::stdout().lock(), "{text}");
}
