//! The kernel is chosen once; a process of its own, since it is.

use countersign_kernels::{AlreadyChosen, Kernel};

#[test]
fn a_forced_kernel_stays() {
    assert_eq!(Kernel::Scalar.force(), Ok(()));
    assert_eq!(Kernel::active(), Kernel::Scalar);
    assert_eq!(Kernel::Scalar.force(), Ok(()));
    assert_eq!(Kernel::AwsLc.force(), Err(AlreadyChosen(Kernel::Scalar)));
    assert_eq!(Kernel::active(), Kernel::Scalar);
}
