# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Clusters for hypothesis, which then looks for a small one that fails."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.clusters import Cluster, random_cluster


def clusters(services: int = 4, mode: str = "ipvs") -> st.SearchStrategy[Cluster]:
    """Random clusters of up to so many services."""
    return st.randoms(use_true_random=False).map(lambda source: random_cluster(source, services, mode))
