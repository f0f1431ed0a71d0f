//! Operands and result of an op that was computed, with the way back.

use candle_core::{
    CpuStorage, CudaStorage, CustomOp1, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor, bail,
};
use std::sync::Mutex;

use super::device::Fresh;

/// From the output and its contiguous slope to the slopes of the operands.
type Back = Box<dyn Fn(&Tensor, &Tensor) -> Result<Vec<Option<Tensor>>> + Send + Sync>;

struct Node {
    name: &'static str,
    result: Mutex<Option<(CudaStorage, Shape)>>,
    back: Back,
}

/// `y`, computed from one to three operands, as a part of their graph. What `back` holds on to
/// must be detached from it.
pub(super) fn node(
    name: &'static str,
    operands: &[&Tensor],
    y: Fresh,
    back: impl Fn(&Tensor, &Tensor) -> Result<Vec<Option<Tensor>>> + Send + Sync + 'static,
) -> Result<Tensor> {
    let result = Mutex::new(Some(y.into_storage()));
    let node = Node { name, result, back: Box::new(back) };
    match operands {
        [x] => x.apply_op1(node),
        [x, y] => x.apply_op2(y, node),
        [x, y, z] => x.apply_op3(y, z, node),
        _ => bail!("{name}: {} operands", operands.len()),
    }
}

impl Node {
    fn take(&self) -> Result<(CudaStorage, Shape)> {
        let result = self.result.lock().ok().and_then(|mut result| result.take());
        result.ok_or_else(|| candle_core::Error::Msg(format!("{}: computed twice", self.name)))
    }

    fn slopes(&self, y: &Tensor, g: &Tensor) -> Result<impl Iterator<Item = Option<Tensor>>> {
        Ok((self.back)(&y.detach(), &g.contiguous()?.detach())?.into_iter())
    }

    fn elsewhere<T>(&self) -> Result<T> {
        bail!("{}: not on a CUDA device", self.name)
    }
}

impl CustomOp1 for Node {
    fn name(&self) -> &'static str {
        self.name
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        self.elsewhere()
    }

    fn cuda_fwd(&self, _: &CudaStorage, _: &Layout) -> Result<(CudaStorage, Shape)> {
        self.take()
    }

    fn bwd(&self, _: &Tensor, y: &Tensor, g: &Tensor) -> Result<Option<Tensor>> {
        Ok(self.slopes(y, g)?.next().flatten())
    }
}

impl CustomOp2 for Node {
    fn name(&self) -> &'static str {
        self.name
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.elsewhere()
    }

    fn cuda_fwd(
        &self,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        self.take()
    }

    fn bwd(
        &self,
        _: &Tensor,
        _: &Tensor,
        y: &Tensor,
        g: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let mut slopes = self.slopes(y, g)?;
        Ok((slopes.next().flatten(), slopes.next().flatten()))
    }
}

impl CustomOp3 for Node {
    fn name(&self) -> &'static str {
        self.name
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.elsewhere()
    }

    fn cuda_fwd(
        &self,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        self.take()
    }

    fn bwd(
        &self,
        _: &Tensor,
        _: &Tensor,
        _: &Tensor,
        y: &Tensor,
        g: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let mut slopes = self.slopes(y, g)?;
        let (a, b) = (slopes.next().flatten(), slopes.next().flatten());
        Ok((a, b, slopes.next().flatten()))
    }
}
