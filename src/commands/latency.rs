//! LATENCY: how long commands take.

use super::command_stats::{Place, new_histogram};
use super::node::Node;
use super::server::no_such_sub;
use super::session::Cx;
use super::table::{Command, Keys, LOOKUP, Outcome, Run, TABLE, flags::*, row};
use crate::resp::{Args, Reply};
use hdrhistogram::Histogram;

const SUB: u32 = ADMIN | NOSCRIPT | LOADING | STALE;

/// The row of LATENCY.
pub const ROW: Command = row("latency", -2, Keys::NONE, 0, 0, Run::Session(no_such_sub))
    .subs(&[
        row("doctor", 2, Keys::NONE, SUB, 0, Run::Session(doctor))
            .doc("2.8.13", "Explains what is known of slow events."),
        row("help", 2, Keys::NONE, LOADING | STALE, 0, Run::Session(help))
            .doc("2.8.13", "Returns helpful text about the sub-commands."),
        row("histogram", -2, Keys::NONE, SUB, 0, Run::Session(histogram))
            .doc("7.0.0", "Returns the cumulative distribution of the latencies of commands."),
        row("history", 3, Keys::NONE, SUB, 0, Run::Session(empty))
            .doc("2.8.13", "Returns the slow occurrences of an event."),
        row("latest", 2, Keys::NONE, SUB, 0, Run::Session(empty))
            .doc("2.8.13", "Returns the latest slow occurrence of every event."),
        row("reset", -2, Keys::NONE, SUB, 0, Run::Session(reset))
            .doc("2.8.13", "Forgets slow events."),
    ])
    .doc("2.8.13", "A container for commands about latency.");

/// The latencies of one command on all workers, ns.
pub fn merged(node: &Node, place: Place) -> Histogram<u32> {
    let mut sum = new_histogram();
    for stats in &node.workers {
        stats.by_command.add_latencies(place, &mut sum);
    }
    sum
}

/// LATENCY HISTOGRAM [command ...]
fn histogram(cx: &mut Cx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let node = cx.node();
    let mut places: Vec<Place> = Vec::new();
    if args.len() == 2 {
        places.extend(Place::all());
    }
    for name in args.iter_from(2) {
        let Some(row) = LOOKUP.find(name) else { continue };
        places.push(Place::new(row, None));
        places.extend((0..TABLE[row].subs.len()).map(|sub| Place::new(row, Some(sub))));
    }
    let measured: Vec<(Place, Histogram<u32>)> = places
        .into_iter()
        .map(|place| (place, merged(node, place)))
        .filter(|(_, histogram)| !histogram.is_empty())
        .collect();
    reply.map(measured.len());
    for (place, histogram) in measured {
        reply.bulk(place.name().as_bytes());
        reply.map(2);
        reply.bulk(b"calls");
        reply.int(histogram.len() as i64);
        reply.bulk(b"histogram_usec");
        answer_buckets(&histogram, reply);
    }
    Ok(())
}

/// Powers of two in us, each with the number of calls that took at most as long.
fn answer_buckets(histogram: &Histogram<u32>, reply: &mut Reply<'_>) {
    let mut buckets: Vec<(u64, u64)> = Vec::new();
    let mut below = 0;
    for bucket in histogram.iter_log(1024, 2.0) {
        below += bucket.count_since_last_iteration();
        if bucket.count_since_last_iteration() > 0 {
            buckets.push(((bucket.value_iterated_to() + 1) / 1024, below));
        }
    }
    reply.map(buckets.len());
    for (up_to_us, count) in buckets {
        reply.int(up_to_us as i64);
        reply.int(count as i64);
    }
}

/// LATENCY LATEST and LATENCY HISTORY: no event is ever noted.
fn empty(_cx: &mut Cx<'_>, _args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply.array(0);
    Ok(())
}

/// LATENCY RESET [event ...]
fn reset(_cx: &mut Cx<'_>, _args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply.int(0);
    Ok(())
}

/// LATENCY DOCTOR
fn doctor(_cx: &mut Cx<'_>, _args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let text = "No slow event is known: this server neither forks nor blocks on its own account. \
                See LATENCY HISTOGRAM for the latencies of commands, SLOWLOG GET for slow ones.\n";
    reply.verbatim("txt", text.as_bytes());
    Ok(())
}

/// LATENCY HELP
fn help(_cx: &mut Cx<'_>, _args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    super::help::reply(
        reply,
        &[
            "LATENCY <subcommand> [argument ...], where the subcommand is one of:",
            "HISTOGRAM [command ...]",
            "    How long commands take: calls, and how many took at most so many microseconds.",
            "LATEST | HISTORY event | RESET [event ...] | DOCTOR",
            "    Slow events.",
            "HELP",
            "    These lines.",
        ],
    );
    Ok(())
}
