//! Running a launch: on the driver of a GPU, or on the emulator.

#[cfg(feature = "cuda")]
mod driver;
#[cfg(feature = "cuda-emulator")]
pub(super) mod emulator;

use candle_core::{Device, Result, bail};

use super::launch::{Launch, WARP};

impl Launch {
    /// Runs the kernel on `device`, after everything launched before. On the CPU that is the emulator.
    pub(crate) fn run(&self, device: &Device) -> Result<()> {
        if self.grid.contains(&0) {
            return Ok(());
        }
        let threads: usize = self.block.iter().product();
        if threads > 1024 || !threads.is_multiple_of(WARP) {
            bail!("{}: a block of {threads} threads is not one of whole warps", self.kernel);
        }
        match device {
            #[cfg(feature = "cuda")]
            Device::Cuda(device) => driver::run(device, self),
            #[cfg(feature = "cuda-emulator")]
            Device::Cpu => emulator::run(self),
            _ => bail!("{}: this build has no kernels for {:?}", self.kernel, device.location()),
        }
    }
}
