"""A graph network in the older style: sparse adjacency, FloatTensor, Variable, a whole model pickled and loaded."""


import math

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.autograd import Variable
from torch.nn.modules.module import Module
from torch.nn.parameter import Parameter


class GraphConvolution(Module):
    def __init__(self, in_features, out_features, bias=True):
        super().__init__()
        self.weight = Parameter(torch.FloatTensor(in_features, out_features))
        if bias:
            self.bias = Parameter(torch.FloatTensor(out_features))
        else:
            self.register_parameter("bias", None)
        stdv = 1.0 / math.sqrt(self.weight.size(1))
        self.weight.data.uniform_(-stdv, stdv)
        self.bias.data.uniform_(-stdv, stdv)

    def forward(self, x, adj):
        return torch.spmm(adj, torch.mm(x, self.weight)) + self.bias


class GCN(nn.Module):
    def __init__(self):
        super().__init__()
        self.gc1, self.gc2 = GraphConvolution(8, 16), GraphConvolution(16, 2)

    def forward(self, x, adj):
        return F.log_softmax(self.gc2(F.relu(self.gc1(x, adj)), adj), dim=1)


torch.manual_seed(0)
random = np.random.RandomState(0)
labels = np.arange(40) % 2
A = (random.rand(40, 40) < np.where(labels[:, None] == labels, 0.3, 0.05)) + np.eye(40)
rows, columns = np.nonzero(A + A.T)
values = (1.0 / (A + A.T > 0).sum(1)[rows]).astype(np.float32)
indices = torch.from_numpy(np.vstack((rows, columns)).astype(np.int64))
adj = torch.sparse.FloatTensor(indices, torch.from_numpy(values), torch.Size(A.shape))
features = Variable(torch.randn(40, 8))
target = torch.LongTensor(labels)
model = GCN()
optimizer = torch.optim.Adam(model.parameters(), lr=0.05, weight_decay=5e-4)
for _ in range(20):
    optimizer.zero_grad()
    loss = F.nll_loss(model(features, adj)[:30], target[:30])
    loss.backward()
    optimizer.step()
    print("loss", loss.item())
torch.save(model, "model.pt")
again = torch.load("model.pt", weights_only=False)
assert type(again) is GCN and torch.equal(again(features, adj), model(features, adj))
try:
    torch.load("model.pt")
except Exception as error:
    assert "GraphConvolution" in str(error) or "GCN" in str(error), error
else:
    raise AssertionError("a pickled model was loaded without being asked to")
