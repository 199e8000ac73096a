use super::*;
use crate::specs::AttentionSums;
use crate::testing::{assert_close, random, tensor};

fn row_times(weight: &[f32], bias: &[f32], row: &[f32]) -> Vec<f32> {
    let dot = |w: &[f32]| w.iter().zip(row).map(|(&w, &v)| f64::from(w) * f64::from(v)).sum::<f64>();
    weight.chunks_exact(row.len()).zip(bias).map(|(w, &b)| (dot(w) + f64::from(b)) as f32).collect()
}

/// The definition for one pixel: `x [pairs][c]`.
fn naive_pixel(x: &[Vec<f32>], w: &[Vec<f32>], heads: usize) -> Vec<Vec<f32>> {
    let c = x[0].len();
    let d = c / heads;
    let elu1 = |v: f32| if v > 0.0 { v + 1.0 } else { v.exp() };
    let normed: Vec<_> =
        x.iter().map(|r| crate::cpu::layer_norm::tests::naive(r, &w[0], &w[1], 1e-5)).collect();
    let project =
        |weight: usize| normed.iter().map(|r| row_times(&w[weight], &w[weight + 1], r)).collect::<Vec<_>>();
    let (q, k, v) = (project(2), project(4), project(6));
    let n = x.len() as f64;
    (0..x.len())
        .map(|i| {
            let mut x1 = x[i].clone();
            for h in 0..heads {
                let mut norm = 0.0;
                let mut out = vec![0.0; d];
                for j in 0..x.len() {
                    let mut similarity = 0.0;
                    for e in h * d..(h + 1) * d {
                        similarity += f64::from(elu1(q[i][e])) * f64::from(elu1(k[j][e]));
                    }
                    norm += similarity;
                    for (o, &value) in out.iter_mut().zip(&v[j][h * d..(h + 1) * d]) {
                        *o += similarity * f64::from(value) / n;
                    }
                }
                for (e, o) in out.iter().enumerate() {
                    x1[h * d + e] += (o / (norm + 1e-6) * n) as f32;
                }
            }
            let normed = crate::cpu::layer_norm::tests::naive(&x1, &w[8], &w[9], 1e-5);
            let hidden: Vec<f32> = row_times(&w[10], &w[11], &normed).iter().map(|v| v.max(0.0)).collect();
            let update = row_times(&w[12], &w[13], &hidden);
            (0..c).map(|e| x[i][e] + x1[e] + update[e]).collect()
        })
        .collect()
}

/// Every image in parts of at most `part` pairs.
fn in_parts(layer: &ClassAttention, x: &Tensor, offsets: &[usize], part: usize, isa: Isa) -> Vec<f32> {
    let (_, h, w, _) = x.dims4().unwrap();
    let mut out = Vec::new();
    for segment in offsets.windows(2) {
        let parts = || {
            (segment[0]..segment[1])
                .step_by(part)
                .map(|first| x.narrow(0, first, part.min(segment[1] - first)).unwrap())
        };
        let mut sums = AttentionSums::none(h * w);
        for x in parts() {
            sums = layer.add_sums_with(&x, &sums, isa).unwrap();
        }
        for x in parts() {
            let y = layer.finish_part_with(&x, &sums, isa).unwrap();
            out.extend(y.flatten_all().unwrap().to_vec1::<f32>().unwrap());
        }
    }
    out
}

#[test]
fn equals_the_definition_in_every_segment() {
    for (c, heads, h, w, offsets) in [
        (32, 4, 3, 5, vec![0, 3, 3, 20, 21]),
        (16, 4, 6, 6, vec![0, 1]),
        (40, 4, 2, 2, vec![0, 17]),
        (128, 4, 2, 3, vec![0, 9, 12]),
    ] {
        let sizes = [c, c, c * c, c, c * c, c, c * c, c, c, c, 4 * c * c, 4 * c, 4 * c * c, c];
        let weights: Vec<_> = sizes.iter().zip(1..).map(|(&n, seed)| random(n, seed)).collect();
        let vector = |i: usize| tensor(&weights[i], &[weights[i].len()]);
        let matrix = |i: usize, out: usize| tensor(&weights[i], &[out, weights[i].len() / out]);
        let t: Vec<_> = (0..14)
            .map(|i| match i {
                2 | 4 | 6 | 12 => matrix(i, c),
                10 => matrix(i, 4 * c),
                _ => vector(i),
            })
            .collect();
        let layer = ClassAttention::new(
            &ClassAttentionWeights {
                norm1: (&t[0], &t[1]),
                query: (&t[2], &t[3]),
                key: (&t[4], &t[5]),
                value: (&t[6], &t[7]),
                norm2: (&t[8], &t[9]),
                expand: (&t[10], &t[11]),
                contract: (&t[12], &t[13]),
            },
            heads,
            1e-5,
        )
        .unwrap();
        let pairs = *offsets.last().unwrap();
        let x = random(pairs * h * w * c, 50);
        let mut want = vec![0.0; x.len()];
        for segment in offsets.windows(2).filter(|s| s[0] < s[1]) {
            for pixel in 0..h * w {
                let at = |pair: usize| (pair * h * w + pixel) * c;
                let rows: Vec<_> = (segment[0]..segment[1]).map(|p| x[at(p)..][..c].to_vec()).collect();
                for (p, row) in (segment[0]..segment[1]).zip(naive_pixel(&rows, &weights, heads)) {
                    want[at(p)..][..c].copy_from_slice(&row);
                }
            }
        }
        let x = tensor(&x, &[pairs, h, w, c]);
        for isa in Isa::available() {
            let got = layer.forward_values(&cpu_values(&x).unwrap(), h * w, &offsets, isa);
            assert_close(&got, &want, 2e-3, &format!("{isa:?} {c}"));
            for part in [1, 3, 8, 11] {
                let parts = in_parts(&layer, &x, &offsets, part, isa);
                assert_eq!(parts, got, "{isa:?} {c}: parts of {part} differ from the whole");
            }
        }
        assert!(layer.forward(&x, &[0, pairs + 1]).is_err());
    }
}
