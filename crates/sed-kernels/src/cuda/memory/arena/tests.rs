//! The places of an arena.

use super::*;

fn taken(count: usize) -> u64 {
    let mut output = Output::new(&Device::Cpu, DType::F32, count).unwrap();
    output.address().unwrap().0
}

fn work(arena: &mut Arena, work: impl FnOnce()) {
    let done = arena.lend(|| {
        work();
        Ok::<_, candle_core::Error>(())
    });
    done.unwrap();
}

fn arena(apart: bool) -> Arena {
    Arena(Slabs::new(&Device::Cpu, apart))
}

#[test]
fn the_same_work_has_the_same_places() {
    for apart in [false, true] {
        let mut arena = arena(apart);
        let mut rounds = Vec::new();
        for _ in 0..3 {
            let mut places = Vec::new();
            work(&mut arena, || {
                places.push(taken(100));
                let mut turns = Turns::ending_on(Side::Low, 3);
                for _ in 0..3 {
                    turns.begin();
                    let scratch = scratch();
                    places.push(taken(640));
                    scratch.results();
                    places.push(taken(64));
                }
                turns.end();
                places.push(taken(1));
            });
            if arena.is_outgrown() {
                arena.grow().unwrap();
            }
            rounds.push(places);
        }
        assert_eq!(rounds[1], rounds[2], "apart: {apart}");
        let [first, scratch0, kept0, scratch1, kept1, scratch2, kept2, last] = rounds[2][..] else {
            panic!()
        };
        // The third step overwrites what the first has left, and its scratch memory lies above the second's result.
        assert_eq!((kept0, scratch0 == scratch2), (kept2, false));
        let mut different = vec![first, kept0, kept1, scratch1, last];
        different.sort_unstable();
        different.dedup();
        assert_eq!(different.len(), if apart { 5 } else { 4 }, "only scratch memory is used again");
        assert_eq!(arena.bytes(), if apart { 0 } else { 4 * (128 + 64 + 64 + 640) });
    }
}

#[test]
fn work_that_outgrows_the_slabs_has_memory_too() {
    let mut arena = arena(false);
    work(&mut arena, || assert_ne!(taken(64), 0));
    arena.grow().unwrap();
    work(&mut arena, || {
        let small = taken(64);
        work_on(Side::High);
        assert_ne!(taken(6400), small);
    });
    assert!(arena.is_outgrown());
    arena.grow().unwrap();
    assert_eq!((arena.is_outgrown(), arena.bytes()), (false, 4 * 6464));
    arena.clear();
    assert_eq!(arena.bytes(), 0);
}

#[test]
fn recorded_work_has_no_memory_beside_the_slabs() {
    let mut arena = arena(false);
    let outcome = arena.lend(|| {
        fix(true);
        Output::new(&Device::Cpu, DType::F32, 8).map(drop)
    });
    assert!(outcome.unwrap_err().to_string().contains("beside the arena"));
    // The mark does not outlive the work, and what is outside is not of the arena.
    work(&mut arena, || {
        let own = outside(|| Ok(taken(8))).unwrap();
        assert!(own != 0 && taken(8) != 0);
    });
    assert!(arena.lend(arena_inside).is_err());
}

fn arena_inside() -> Result<()> {
    arena(false).lend(|| Ok(()))
}

#[test]
fn values_of_both_sides_do_not_meet() {
    let mut arena = arena(false);
    for _ in 0..2 {
        work(&mut arena, || {
            let low = Output::zeros(&Device::Cpu, DType::F32, 70).unwrap().into_tensor();
            work_on(Side::High);
            let high = Output::new(&Device::Cpu, DType::F32, 3).unwrap().into_tensor();
            assert!(low.to_vec1::<f32>().unwrap().iter().all(|value| *value == 0.0));
            assert!(high.to_vec1::<f32>().unwrap().iter().all(|value| value.is_nan()));
        });
        arena.grow().unwrap();
    }
}
