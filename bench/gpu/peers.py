"""What the field runs, written with PyTorch: the chains of torchao's fake quantization, native operators, fused optimizers."""


class Peers:
    def __init__(self, torch, compiled=True):
        self.torch = torch
        self.compiled = compiled
        self._compiled = {}

    def compile(self, name, function):
        """function under torch.compile, once per name; None where compiling is switched off."""
        if not self.compiled:
            return None
        if name not in self._compiled:
            self._compiled[name] = self.torch.compile(function, dynamic=False)
        return self._compiled[name]

    def torchao_chain(self, x, group, bits, mapping="symmetric"):
        """torchao's group-wise fake quantization (fp32 scales; choose_qparams_affine, then quantize, then dequantize) as it
        runs in eager mode: range, scale, reciprocal, multiply, round, clamp, cast, back."""
        torch = self.torch
        qmin, qmax = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
        shaped = x.reshape(-1, group)
        low = torch.amin(shaped, dim=1, keepdim=True)
        high = torch.amax(shaped, dim=1, keepdim=True)
        low = torch.minimum(low, torch.zeros_like(low))
        high = torch.maximum(high, torch.zeros_like(high))
        if mapping == "symmetric":
            scale = torch.maximum(-low, high) / (float(qmax - qmin) / 2)
            scale = torch.clamp(scale, min=torch.finfo(x.dtype).eps).to(torch.float32)
            zero = torch.zeros_like(scale)
        else:
            scale = torch.clamp((high - low) / float(qmax - qmin), min=torch.finfo(x.dtype).eps)
            zero = torch.clamp(qmin - torch.round(low / scale), qmin, qmax).to(torch.float32)
            scale = scale.to(torch.float32)
        q = torch.clamp(torch.round(shaped * (1.0 / scale)) + zero, qmin, qmax)
        return ((q - zero) * scale).to(x.dtype).reshape(x.shape)

    def ste_backward(self, dy, x, scale, group, qmin, qmax):
        torch = self.torch
        shaped = x.reshape(-1, group)
        u = torch.round(shaped * (1.0 / scale))
        mask = (u >= qmin) & (u <= qmax)
        return torch.where(mask, dy.reshape(-1, group), 0).reshape(x.shape)

    def float_chain(self, spec):
        """torchao's FP8 and MX fake quantization, written out; None where there is no short form."""
        torch = self.torch
        element, granularity, rule = spec.split(":")
        if element != "e4m3" or granularity == "tensor":
            return None
        largest = 448.0

        def by_row(x):
            scale = (x.abs().amax(dim=-1, keepdim=True) / largest).float()
            q = (x.float() / scale).clamp(-largest, largest).to(torch.float8_e4m3fn)
            return (q.float() * scale).to(x.dtype)

        def by_block(x):
            shaped = x.float().reshape(-1, 32)
            wanted = shaped.abs().amax(dim=-1, keepdim=True) * (1.0 / largest)
            scale = torch.exp2(torch.ceil(torch.log2(wanted)))
            q = (shaped / scale).clamp(-largest, largest).to(torch.float8_e4m3fn)
            return (q.float() * scale).to(x.dtype).reshape(x.shape)

        return by_row if rule == "amax" else by_block

    def rmsnorm(self, x, weight, eps=1e-5):
        return self.torch.nn.functional.rms_norm(x, (x.shape[-1],), weight, eps)

    def token_fake_quantize(self, x):
        return self.torchao_chain(x, x.shape[-1], 8, "asymmetric")

    def swiglu(self, gate, up):
        return self.torch.nn.functional.silu(gate) * up
