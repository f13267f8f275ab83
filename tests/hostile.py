"""Values that a public function may be given by mistake, as they are written."""

from __future__ import annotations

import datetime
import decimal
import fractions
import itertools
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr

import lensscope as ls


class Weird:
    """Nothing can be asked of it."""

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no equality")

    def __bool__(self) -> bool:
        raise RuntimeError("no truth")

    __hash__ = None  # type: ignore[assignment]


NAMES: dict[str, Any] = {
    **{one.__name__: one for one in (datetime, decimal, fractions, itertools, math, sys, torch)},
    "np": np,
    "pd": pd,
    "xr": xr,
    "ls": ls,
    "Path": Path,
    "Weird": Weird,
}
"""What the values below are written with."""


def _several(written: str) -> list[str]:
    return written.split()


NUMBERS = _several("""
-1 0 1 2 3 7 99 2**31 2**63 2**70 10**9 10**400 -2**70 0.5 -0.5 1.5 2.0 1e300 -1e300 math.nan
math.inf -math.inf True False complex(1,2) np.int64(1) np.int8(-1) np.float32(0.5)
np.float64('nan') np.bool_(True) np.bool_(False) np.uint64(2**63) torch.tensor(1)
torch.tensor(0.5) torch.tensor(True) torch.tensor(math.nan) np.array(2) decimal.Decimal('0.5')
decimal.Decimal('NaN') fractions.Fraction(1,2)
""")
SMALL = _several("""
0 1 2 0.5 True False np.int64(1) np.int8(2) np.float32(0.5) np.bool_(True) np.bool_(False)
np.array(2) torch.tensor(1) torch.tensor(0.5) torch.tensor(True) fractions.Fraction(1,2)
""")
THINGS = _several("""
None '' 'x' 'no' 'w5' '0' '\\x1b[31m\\0' '\\ud800' 'a'*30000 b'w5' bytearray(b'w5') object()
Weird() [] () {} [None] [[]] [2,2] [0,0,0] [-1] [99] [1.5] ['w5','w5'] [True] [object()] {1,2}
{'a':1} {'clean':-1} range(0) range(2) range(10**9) range(10**12) iter([]) itertools.count()
itertools.repeat('w5') itertools.repeat([]) np.array([1,2]) np.array([]) np.array(['w5'])
np.zeros((2,2)) np.array([object()]) torch.ones(2) torch.ones(32) torch.ones(33) torch.ones(6,32)
torch.ones(2,2,2) torch.tensor([1,2]) torch.tensor([]) torch.full((32,),math.nan)
torch.ones(32,dtype=torch.float16) torch.ones(32,dtype=torch.long) torch.ones(2,device='meta')
torch.ones(32,dtype=torch.complex64) torch.tensor([True,False]) pd.Series([1])
pd.DataFrame({'a':[1]}) xr.DataArray([1]) slice(0,2) slice(None,None,0) slice('a',None)
slice(0.5,1) Path('x') Path('/proc/none/x') Path('.') datetime.date(2020,1,1) Exception('x') len
print dict type int (lambda:0) (lambda*a:None) (lambda*a:torch.ones(1)) sys ls.ALL ls.span('w5')
ls.span('') ls.resid_post ls.resid_post(1) ls.resid_post(99) ls.resid_post(1).at(2)
ls.head_out(1,9) ls.pattern ls.embed ls.resid_post(1).zero() [ls.resid_post(1).zero()]
iter([ls.resid_mid(1)]) [ls.resid_post(1),ls.resid_post(1)] [ls.resid_post(1),'x']
ls.resid_post(0)>>ls.resid_post(1) ls.resid_post(0)>>len ls.LogitLens ls.LogitLens()
[ls.LogitLens(),ls.LogitLens()] ls.Plan() ls.Plan.none() ls.logit_difference ls.kl_divergence()
ls.rank(7) ls.log_probability('w5') ls.Patchscope ls.LensError torch.float32 torch.float16
torch.long torch.device('cpu') torch.nn.Linear(2,2) ...
""")
