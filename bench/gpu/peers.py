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

    def llama_steps(self, size, tokens, targets):
        """name -> a training step of the same Llama in PyTorch: bfloat16 autocast over fp32 weights, SDPA, fused AdamW, clipping;
        as it is and compiled, plain and with torchao's fake quantization (8da4w) written out."""
        found = {}
        for quantized in (False, True):
            for compiled in (False, True) if self.compiled else (False,):
                name = ("torch qat" if quantized else "torch") + (" compiled" if compiled else " eager")
                found[name] = self.llama_step(size, tokens, targets, quantized, compiled)
        return found

    def llama_step(self, size, tokens, targets, quantized, compiled):
        torch = self.torch
        functional = torch.nn.functional
        batch, length, dim, layers, heads, hidden, vocabulary = size
        fake = self.straight_through

        class Linear(torch.nn.Linear):
            def forward(self, x):
                if not quantized:
                    return super().forward(x)
                return functional.linear(fake(x, x.shape[-1], 8, "asymmetric"), fake(self.weight, 32, 4, "symmetric"))

        class Block(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.norm1, self.norm2 = torch.nn.RMSNorm(dim), torch.nn.RMSNorm(dim)
                self.qkv, self.out = Linear(dim, 3 * dim, bias=False), Linear(dim, dim, bias=False)
                self.gate_up, self.down = Linear(dim, 2 * hidden, bias=False), Linear(hidden, dim, bias=False)

            def forward(self, x, cosine, sine):
                q, k, v = self.qkv(self.norm1(x)).view(batch, length, 3, heads, dim // heads).permute(2, 0, 3, 1, 4)
                q, k = (torch.cat([a * cosine - b * sine, b * cosine + a * sine], -1).to(v.dtype) for a, b in (t.chunk(2, -1) for t in (q, k)))
                y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
                x = x + self.out(y.transpose(1, 2).reshape(batch, length, dim))
                gate, up = self.gate_up(self.norm2(x)).chunk(2, -1)
                return x + self.down(functional.silu(gate) * up)

        class Llama(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.embedding = torch.nn.Embedding(vocabulary, dim)
                torch.nn.init.normal_(self.embedding.weight, std=0.02)
                self.blocks = torch.nn.ModuleList(Block() for _ in range(layers))
                self.norm = torch.nn.RMSNorm(dim)
                angle = torch.outer(torch.arange(length), 10000.0 ** (-torch.arange(0, dim // heads, 2) / (dim // heads)))
                self.register_buffer("cosine", angle.cos())
                self.register_buffer("sine", angle.sin())

            def forward(self, tokens, targets):
                x = self.embedding(tokens)
                for block in self.blocks:
                    x = block(x, self.cosine, self.sine)
                logits = functional.linear(self.norm(x), self.embedding.weight)
                return functional.cross_entropy(logits.view(-1, vocabulary), targets.view(-1).long())

        model = Llama().cuda()
        optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
        forward = torch.compile(model) if compiled else model

        def step():
            with torch.autocast("cuda", torch.bfloat16):
                loss = forward(tokens, targets)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return step

    def straight_through(self, x, group, bits, mapping):
        """torchao_chain with the gradient of the values inside the range."""
        torch = self.torch
        with torch.no_grad():
            y = self.torchao_chain(x, group, bits, mapping)
        return x + (y - x).detach()
