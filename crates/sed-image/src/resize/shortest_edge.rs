//! The reference's rule for the size of the first resize.

/// Length of the shorter side after the resize, in pixels.
const SHORTEST_EDGE: u32 = 640;

/// Longest side allowed after the resize, in pixels.
const MAX_SIDE: u32 = 2560;

/// Width and height to which the official evaluation resizes an image: the shorter side becomes
/// 640 pixels, unless the longer one would pass 2560; then that one sets the scale.
/// Neither is ever 0.
pub fn shortest_edge_size(width: u32, height: u32) -> (u32, u32) {
    let (w, h) = (f64::from(width.max(1)), f64::from(height.max(1)));
    let edge = f64::from(SHORTEST_EDGE);
    let scale = edge / w.min(h);
    // The shorter side is set, not multiplied: the product may differ from 640 in the last bit.
    let (mut new_w, mut new_h) = if h < w { (scale * w, edge) } else { (edge, scale * h) };
    let longest = new_w.max(new_h);
    let most = f64::from(MAX_SIDE);
    if longest > most {
        let shrink = most / longest;
        new_w *= shrink;
        new_h *= shrink;
    }
    // An image more than 5120 times as long as wide would round to 0, which no resize can do.
    (((new_w + 0.5) as u32).max(1), ((new_h + 0.5) as u32).max(1))
}

#[cfg(test)]
mod tests {
    use super::shortest_edge_size;

    #[test]
    fn sizes_of_the_reference() {
        for ((width, height), expected) in [
            ((48, 64), (640, 853)),
            ((100, 33), (1939, 640)),
            ((640, 640), (640, 640)),
            ((1000, 700), (914, 640)),
            ((900, 1300), (640, 924)),
            ((300, 20), (2560, 171)),
            ((20, 300), (171, 2560)),
            ((1, 1), (640, 640)),
            ((643, 641), (642, 640)),
        ] {
            assert_eq!(shortest_edge_size(width, height), expected, "{width}x{height}");
        }
        assert_eq!(shortest_edge_size(60_000, 1), (2560, 1));
    }
}
