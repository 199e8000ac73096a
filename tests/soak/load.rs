//! A run: references, load, the same again, accounts.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep},
};

use crate::{
    LoadArgs,
    acts::{self, Colds},
    answers::{compare, compare_infer, timeless, timeless_infer},
    audit,
    calls::{FORGOTTEN, Patience, Shared, infer, segment},
    catalogue::Catalogue,
    child::Server,
    counters::Counters,
    line::{Caller, Line},
    planes,
    report::Report,
    watch::{Sample, Trend},
};

/// Time between two lines that show how far the load is.
const PROGRESS: Duration = Duration::from_secs(10);
/// The longest that a server may need to finish what was given up.
const LONGEST_QUIET: Duration = Duration::from_secs(60);

/// Runs everything. What is wrong is in the report.
pub(crate) async fn run(args: &LoadArgs) -> Report {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("tokens"), Caller::file()).unwrap();
    let mut server = Server::start(folder.path(), args.seed);
    let (address, ops) = (server.started.address, server.started.ops);
    let shared = Arc::new(Shared::new(Catalogue::draw(args.seed)));
    println!("{} answers as references", shared.catalogue.segment.len() + shared.catalogue.infer.len());
    set_references(&shared, &Line::new(address, 0)).await;
    quiet(&shared, ops).await;
    let begun = Instant::now();
    let idle_before = Sample::take(&mut server, begun, shared.tally().requests());

    println!("{} clients for {} minutes", args.clients, args.minutes);
    server.set_faults(true);
    let mut clients = JoinSet::new();
    for number in 0..args.clients {
        clients.spawn(acts::client(Arc::clone(&shared), address, number, args.seed));
    }
    let samples = watch(&shared, &mut server, ops, Duration::from_secs_f64(60.0 * args.minutes)).await;
    shared.stop.store(true, Ordering::SeqCst);
    let colds = join(&shared, clients).await;
    let loaded = shared.tally().requests();

    println!("the same again, alone and without faults");
    server.set_faults(false);
    ask_again(&shared, &Line::new(address, 0), colds).await;
    quiet(&shared, ops).await;
    let idle_after = Sample::take(&mut server, begun, shared.tally().requests());
    audit::idle(&shared, idle_before, idle_after);
    let trend = Trend::of(&samples);
    let counters = Counters::scrape(ops).await;
    let mut heard = 0;
    match &counters {
        Ok(counters) => heard = audit::counters(&shared, counters),
        Err(why) => shared.tally().violation(why.clone()),
    }
    match (server.stop(), &counters) {
        (Ok(ended), Ok(counters)) => audit::faults(&shared, counters, &ended),
        (Err(why), _) => shared.tally().violation(why),
        (Ok(_), Err(_)) => {}
    }
    let found = trend.as_ref().map(|trend| trend.violations(args.clients)).unwrap_or_default();
    found.into_iter().for_each(|violation| shared.tally().violation(violation));
    Report::new(args, &shared.tally(), samples, trend, loaded, heard)
}

/// Asks every case once, alone.
async fn set_references(shared: &Shared, line: &Line) {
    for case in &shared.catalogue.segment {
        let answer = segment(shared, line, &case.request, None, Patience::Ample).await;
        let answer = answer.expect("it waits").expect("without faults every case is answered");
        shared.expect("a reference", planes::check(&answer));
        case.set_reference(timeless(&answer));
    }
    for case in &shared.catalogue.infer {
        let answer = infer(shared, line, &case.request, Patience::Ample).await;
        let answer = answer.expect("it waits").expect("without faults every case is answered");
        case.set_reference(timeless_infer(&answer));
    }
}

/// Samples the server's process every second until the time is over, and shows how far the load is.
async fn watch(shared: &Shared, server: &mut Server, ops: SocketAddr, time: Duration) -> Vec<Sample> {
    let begun = Instant::now();
    let mut samples: Vec<Sample> = Vec::new();
    let mut ticks = interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let (mut next_progress, mut last) = (PROGRESS, (0.0, shared.tally().requests()));
    while begun.elapsed() < time {
        ticks.tick().await;
        if let Some(status) = server.has_ended() {
            shared.tally().violation(format!("the server ended under load with {status}"));
            break;
        }
        let requests = shared.tally().requests();
        let Some(sample) = Sample::take(server, begun, requests) else {
            shared.tally().violation("the server does not say what it has allocated".to_owned());
            continue;
        };
        samples.push(sample);
        if begun.elapsed() < next_progress {
            continue;
        }
        next_progress += PROGRESS;
        let rate = (requests - last.1) as f64 / (sample.seconds - last.0);
        last = (sample.seconds, requests);
        let in_flight = match Counters::scrape(ops).await {
            Ok(counters) => counters.of("sed_requests_in_flight"),
            Err(why) => {
                shared.tally().violation(why);
                continue;
            }
        };
        let Sample { seconds, descriptors, threads, .. } = sample;
        println!(
            "{seconds:6.0} s {requests:8} requests {rate:6.1}/s {in_flight:3} in flight {:7.1} MiB resident \
             {:6.1} allocated {descriptors:4} descriptors {threads:3} threads {:3} violations",
            sample.resident_mib(),
            sample.allocated_mib(),
            shared.tally().violated
        );
    }
    samples
}

/// Waits for the clients to finish their last acts.
async fn join(shared: &Shared, mut clients: JoinSet<Colds>) -> Colds {
    let mut all = Colds::default();
    // A call that was forgotten ends, as a violation, before this.
    let longest = sleep(3 * FORGOTTEN);
    tokio::pin!(longest);
    loop {
        tokio::select! {
            () = &mut longest => {
                let left = clients.len();
                shared.tally().violation(format!("{left} clients had not ended {:?} after the load", 3 * FORGOTTEN));
                return all;
            }
            ended = clients.join_next() => match ended {
                Some(Ok(colds)) => all.0.extend(colds.0),
                Some(Err(error)) => shared.tally().violation(format!("a client broke down: {error}")),
                None => return all,
            }
        }
    }
}

/// Asks every case, and the requests with new words, once more: after the load the answers are the same.
async fn ask_again(shared: &Shared, line: &Line, colds: Colds) {
    until_ready(shared, line).await;
    let cases = shared.catalogue.segment.iter().map(|case| (&case.request, case.reference()));
    for (request, reference) in cases.chain(colds.0.iter().map(|(request, answer)| (request, answer))) {
        let outcome = match segment(shared, line, request, None, Patience::Ample).await {
            Some(Ok(answer)) => compare(&answer, reference),
            Some(Err(status)) => Err(format!("it was refused: {}", status.message())),
            None => continue,
        };
        shared.tally().compared += 1;
        shared.expect("a request behind the load", outcome);
    }
    for case in &shared.catalogue.infer {
        let outcome = match infer(shared, line, &case.request, Patience::Ample).await {
            Some(Ok(answer)) => compare_infer(&answer, case.reference()),
            Some(Err(status)) => Err(format!("it was refused: {}", status.message())),
            None => continue,
        };
        shared.tally().compared += 1;
        shared.expect("an open inference request behind the load", outcome);
    }
    acts::delete_all(shared, line).await;
}

/// Waits for a device that was lost last.
async fn until_ready(shared: &Shared, line: &Line) {
    let begun = Instant::now();
    while begun.elapsed() < LONGEST_QUIET {
        let question = line.caller.request(sed_proto::inference::ServerReadyRequest {});
        if line.inference().server_ready(question).await.is_ok_and(|answer| answer.get_ref().ready) {
            return;
        }
        sleep(Duration::from_millis(50)).await;
    }
    shared.tally().violation(format!("the server was not ready {LONGEST_QUIET:?} after the faults"));
}

/// Waits until nothing is left of the load: no call, no request, no connection.
async fn quiet(shared: &Shared, ops: SocketAddr) {
    let begun = Instant::now();
    loop {
        let unfinished = match Counters::scrape(ops).await {
            Ok(counters) => counters.unfinished(),
            Err(why) => return shared.tally().violation(why),
        };
        if unfinished.is_empty() {
            return;
        }
        if begun.elapsed() > LONGEST_QUIET {
            let left = unfinished.join(", ");
            return shared.tally().violation(format!("{LONGEST_QUIET:?} after the last call {left}"));
        }
        sleep(Duration::from_millis(100)).await;
    }
}
