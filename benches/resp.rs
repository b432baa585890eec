//! Time per request of the parser, per reply of the encoder, and of the small tools on the path
//! of every command. `cargo bench --bench resp`.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use dse::limits::BATCH_COMMANDS;
use dse::resp::{OutQueue, ParseLimits, Protocol, Reply, Request, Step};
use dse::util::{crc16, float, glob, int, long_double::LongDouble};
use std::hint::black_box;

/// `count` times the same request.
fn pipeline(args: &[&[u8]], count: usize) -> Vec<u8> {
    let mut request = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        request.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        request.extend_from_slice(arg);
        request.extend_from_slice(b"\r\n");
    }
    request.repeat(count)
}

/// Parses all of `data`; returns a sum so that nothing is optimised away.
fn parse_all(request: &mut Request, data: &[u8], limits: &ParseLimits) -> usize {
    let (mut rest, mut sum) = (data, 0);
    while !rest.is_empty() {
        request.reset();
        assert_eq!(request.parse(rest, limits), Step::Complete);
        let args = request.args(rest);
        sum += args.len() + args.get(args.len() - 1).len();
        rest = &rest[request.consumed()..];
    }
    sum
}

fn parse(c: &mut Criterion) {
    let mut group = c.benchmark_group("parse");
    let (mut request, limits) = (Request::new(), ParseLimits::default());
    let key = b"key:000000012345";
    for (name, data) in [
        ("get_p16", pipeline(&[b"GET", key], BATCH_COMMANDS)),
        ("set_3_p16", pipeline(&[b"SET", key, b"xxx"], BATCH_COMMANDS)),
        ("set_4096_p16", pipeline(&[b"SET", key, &[b'x'; 4096]], BATCH_COMMANDS)),
        ("inline_get_p16", b"GET key:000000012345\r\n".repeat(BATCH_COMMANDS)),
    ] {
        group.throughput(Throughput::Elements(BATCH_COMMANDS as u64));
        group.bench_function(name, |b| {
            b.iter(|| parse_all(&mut request, black_box(&data), &limits));
        });
    }
    group.finish();
}

fn encode(c: &mut Criterion) {
    let mut group = c.benchmark_group("encode");
    group.throughput(Throughput::Elements(BATCH_COMMANDS as u64));
    let mut queue = OutQueue::default();
    let mut bench = |name: &str, write: &dyn Fn(&mut Reply<'_>)| {
        group.bench_function(name, |b| {
            b.iter(|| {
                for _ in 0..BATCH_COMMANDS {
                    write(&mut Reply::new(&mut queue, Protocol::Resp2));
                }
                queue.consume(queue.len());
            });
        });
    };
    bench("ok_p16", &|reply| reply.ok());
    bench("int_p16", &|reply| reply.int(black_box(123_456)));
    bench("bulk_3_p16", &|reply| reply.bulk(black_box(b"xxx")));
    bench("bulk_64_p16", &|reply| reply.bulk(black_box(&[b'x'; 64])));
    bench("bulk_4096_p16", &|reply| reply.bulk(black_box(&[b'x'; 4096])));
    bench("double_p16", &|reply| reply.double(black_box(0.1)));
    group.finish();
}

fn tools(c: &mut Criterion) {
    let key = b"key:000000012345";
    c.bench_function("hash_slot_16", |b| b.iter(|| crc16::hash_slot(black_box(key))));
    c.bench_function("parse_i64_10", |b| b.iter(|| int::parse_i64(black_box(b"1234567890"))));
    c.bench_function("parse_f64", |b| b.iter(|| float::parse_f64(black_box(b"0.1234567"))));
    c.bench_function("format_double", |b| b.iter(|| float::DoubleText::new(black_box(0.1))));
    c.bench_function("long_double_add", |b| {
        b.iter(|| {
            let (a, b) = (LongDouble::parse(black_box(b"10.5")), LongDouble::parse(b"0.1"));
            a.zip(b).and_then(|(a, b)| a.checked_add(b)).map(|sum| sum.to_string())
        });
    });
    c.bench_function("glob_prefix", |b| b.iter(|| glob::matches(b"key:*", black_box(key), false)));
    c.bench_function("request_new", |b| {
        b.iter_batched(Request::new, |request| request, BatchSize::SmallInput);
    });
}

criterion_group!(benches, parse, encode, tools);
criterion_main!(benches);
