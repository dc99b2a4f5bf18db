// Copyright: (c) 2026, kubenode.proxy contributors
// GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// The parts of Apache ECharts that the page of a fleet needs.
import { BarChart, GraphChart, LineChart } from "echarts/charts";
import { GridComponent, TooltipComponent } from "echarts/components";
import { init, use } from "echarts/core";
import { SVGRenderer } from "echarts/renderers";

use([BarChart, GraphChart, GridComponent, LineChart, SVGRenderer, TooltipComponent]);

export { init };
