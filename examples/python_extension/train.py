"""A model of Python, trained with the C++ library: python3 train.py [BUILD FOLDER]"""

import os
import sys

import torch
from torch.utils.cpp_extension import load

here = os.path.dirname(os.path.abspath(__file__))
build = sys.argv[1] if len(sys.argv) > 1 else None
torchreg = load(
    "lasso_adam",
    [os.path.join(here, "lasso_adam.cpp")],
    extra_include_paths=[os.path.join(here, "..", "..", "include")],
    build_directory=build,
)

w = torch.tensor([2.0, -0.5, 1.0])
assert torch.equal(torchreg.prox_(w, 1.0, 0.75), torch.tensor([1.25, 0.0, 0.25]))

# The 8 inputs that matter, out of 40
torch.manual_seed(0)
x = torch.randn(500, 40)
truth = torch.cat([torch.randn(8).sign(), torch.zeros(32)])
y = x @ truth + 0.5 * torch.randn(500)
model = torch.nn.Linear(40, 1)
optimizer = torchreg.LassoAdam(list(model.parameters()), [model.weight], lr=1e-2, penalty=0.1)
for step in range(2000):
    rows = torch.randint(500, (32,))
    optimizer.zero_grad()
    loss = 0.5 * torch.nn.functional.mse_loss(model(x[rows]).squeeze(1), y[rows])
    loss.backward()
    optimizer.step()

alive = model.weight[0].nonzero().flatten().tolist()
print("inputs with a weight:", alive)
assert alive == list(range(8))
