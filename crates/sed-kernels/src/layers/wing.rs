//! The one place that chooses by device.

use candle_core::{DType, Device};

/// A folder of kernels for one kind of device, with what it made. Every wing has a namesake of each layer and
/// operation; another kind of device is another folder, and its arm here.
#[derive(Debug, Clone)]
pub(crate) enum Wing<C = (), G = ()> {
    Cpu(C),
    Cuda(G),
}

impl Wing {
    /// Returns the wing that computes on a device's tensors.
    pub(crate) fn of(device: &Device) -> Self {
        if crate::cuda::runs_on(device) { Self::Cuda(()) } else { Self::Cpu(()) }
    }
}

/// Calls the function of a name in the wing of a device.
macro_rules! in_wing_of {
    ($device:expr, $function:ident($($argument:expr),*)) => {
        match $crate::layers::Wing::of($device) {
            $crate::layers::Wing::Cpu(()) => $crate::cpu::$function($($argument),*),
            $crate::layers::Wing::Cuda(()) => $crate::cuda::$function($($argument),*),
        }
    };
}
pub(crate) use in_wing_of;

/// Reports whether the CUDA kernels compute on a device's tensors: on a GPU, and on the CPU while a test
/// emulates one.
pub fn has_cuda_kernels(device: &Device) -> bool {
    matches!(Wing::of(device), Wing::Cuda(()))
}

/// Number format of the activations on a device: that of the weights with CUDA kernels, f32 with the CPU's.
pub fn activation_dtype(device: &Device, weights: DType) -> DType {
    in_wing_of!(device, activation_dtype(weights))
}

/// Channels of the widest tensor that a ConvNeXt block or a class attention of so many channels, with weights of a
/// format, leaves in a GPU's memory between two launches.
pub fn widest_of_aggregation(weights: DType, channels: usize) -> usize {
    crate::cuda::widest_of_aggregation(weights, channels)
}

/// Matrix products on GPUs for which cuBLASLt refused the algorithm chosen for their weight, with their
/// sizes: their rows may depend on the number of rows in the launch. Empty unless a version of the library
/// has such sizes.
pub fn products_off_plan() -> Vec<String> {
    #[cfg(feature = "cuda")]
    return crate::cuda::off_plan();
    #[cfg(not(feature = "cuda"))]
    Vec::new()
}

/// Declares a layer by its constructor, with the device that it makes the layer for, and its methods: those
/// that each wing's layer of the same name has, and behind `on_device` those that only a wing has whose pairs are
/// [`crate::DevicePairs`].
macro_rules! layer {
    (
        $(#[$about:meta])*
        pub struct $name:ident;
        $(#[$about_new:meta])*
        $visible:vis fn $new:ident($($value:ident: $type:ty),*) on $device:expr;
        $(
            $(#[$about_method:meta])*
            pub fn $method:ident(&self $(, $argument:ident: $of:ty)*) -> $result:ty;
        )*
        $(on_device {$(
            $(#[$about_own:meta])*
            pub fn $own:ident(&self $(, $own_argument:ident: $own_of:ty)*) -> $own_result:ty;
        )*})?
    ) => {
        $(#[$about])*
        #[derive(Debug, Clone)]
        pub struct $name($crate::layers::Wing<$crate::cpu::$name, $crate::cuda::$name>);

        impl $name {
            $(#[$about_new])*
            $visible fn $new($($value: $type),*) -> candle_core::Result<Self> {
                use $crate::layers::Wing;
                Ok(Self(match Wing::of($device) {
                    Wing::Cpu(()) => Wing::Cpu($crate::cpu::$name::$new($($value),*)?),
                    Wing::Cuda(()) => Wing::Cuda($crate::cuda::$name::$new($($value),*)?),
                }))
            }

            $(
                $(#[$about_method])*
                pub fn $method(&self $(, $argument: $of)*) -> $result {
                    match &self.0 {
                        $crate::layers::Wing::Cpu(layer) => layer.$method($($argument),*),
                        $crate::layers::Wing::Cuda(layer) => layer.$method($($argument),*),
                    }
                }
            )*

            $($(
                $(#[$about_own])*
                pub fn $own(&self $(, $own_argument: $own_of)*) -> $own_result {
                    match &self.0 {
                        $crate::layers::Wing::Cuda(layer) => layer.$own($($own_argument),*),
                        $crate::layers::Wing::Cpu(_) => candle_core::bail!(
                            "{}: pairs on the device, but the layer is on the CPU", stringify!($own)
                        ),
                    }
                }
            )*)?
        }
    };
}
pub(crate) use layer;
