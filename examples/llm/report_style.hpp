// How a report looks: on a desk, a phone and paper, light and dark. Hues after Okabe and Ito, which people with any
// kind of colour vision tell apart, at a contrast of 4.5 or more with the ground.
#pragma once

namespace qat_llm {

inline constexpr const char* kReportStyle = R"css(
:root{color-scheme:light dark;--ground:#fdfcf9;--ink:#1b1b19;--muted:#5f5d57;--rule:#dedbd2;--faint:#efede6;--halo:#fdfcf9;
--float:#3a3a38;--ptq:#b3440a;--qat:#0b5fa5;--train:#948e82;--k0:#0b5fa5;--k1:#b3440a;--k2:#00735a;--k3:#8a3f8f;--k4:#7a6000;--k5:#555}
@media screen and (prefers-color-scheme:dark){:root{--ground:#141618;--ink:#ebeae6;--muted:#a9a69d;--rule:#373a3e;--faint:#1f2225;
--halo:#141618;--float:#e4e2dc;--ptq:#f2975f;--qat:#6fb5f4;--train:#77746c;--k0:#6fb5f4;--k1:#f2975f;--k2:#45c8a2;--k3:#d89bdb;--k4:#dfc04c;--k5:#c2c0ba}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;text-size-adjust:100%}
body{margin:0;background:var(--ground);color:var(--ink);font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;
font-variant-numeric:tabular-nums lining-nums}
main{max-width:1080px;margin:0 auto;padding:40px 24px 64px}
h1,h2{font-family:Charter,"Bitstream Charter","Sitka Text",Cambria,Georgia,serif;font-weight:700;line-height:1.15;text-wrap:balance}
h1{font-size:clamp(28px,5vw,44px);margin:6px 0 14px;letter-spacing:-.01em;overflow-wrap:anywhere}
h2{font-size:26px;margin:0 0 6px}
h1 span{font-weight:400;color:var(--muted)}
h3{font-size:15px;margin:0 0 4px;font-weight:650}
p{margin:0 0 12px;max-width:68ch}
.over{color:var(--muted);font-size:13px;letter-spacing:.04em;margin:0;overflow-wrap:anywhere}
.lede{font-family:Charter,"Bitstream Charter","Sitka Text",Cambria,Georgia,serif;font-size:clamp(18px,2.4vw,22px);line-height:1.42;max-width:58ch;margin:0 0 26px}
.sub{color:var(--muted);font-size:14.5px;margin-bottom:18px}
section{border-top:1px solid var(--rule);padding-top:26px;margin-top:44px}
code{font:.92em ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;overflow-wrap:anywhere}
.facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(126px,1fr));gap:18px 20px;margin:0}
.facts div{border-top:1px solid var(--ink);padding-top:8px}
.facts dt{font-size:12.5px;color:var(--muted)}
.facts dd{margin:0;font-size:21px;line-height:1.3;font-weight:600}
.facts small{display:block;font-size:12.5px;font-weight:400;color:var(--muted)}
.scroll{overflow-x:auto;margin:0 0 18px;-webkit-overflow-scrolling:touch}
.scroll:focus-visible{outline:2px solid var(--qat);outline-offset:2px}
table{border-collapse:collapse;font-size:14px;line-height:1.35;min-width:100%}
caption{text-align:left;font-size:13px}
.cap{font-size:13px;color:var(--muted);margin:0 0 6px}
th,td{padding:6px 12px 6px 0;text-align:left;vertical-align:baseline;border-bottom:1px solid var(--faint);font-weight:400}
th:last-child,td:last-child{padding-right:0}
thead th{font-size:12.5px;color:var(--muted);border-bottom:1px solid var(--ink);vertical-align:bottom}
tbody th{white-space:nowrap}
tfoot th,tfoot td{border-top:1px solid var(--ink);border-bottom:0;font-weight:600}
th.n,td.n{text-align:right;white-space:nowrap}
th small{display:inline-block;max-width:170px;white-space:normal;overflow-wrap:anywhere}
td.two small{display:block}
td small{color:var(--muted);font-size:12px}
tr.head th{padding-top:16px;font-weight:650;border-bottom-color:var(--rule)}
tr.head small{font-weight:400;color:var(--muted)}
td.best{font-weight:650}
.strips{display:grid;gap:4px 28px;grid-template-columns:repeat(auto-fit,minmax(min(100%,420px),1fr));margin:0 0 22px}
.strips figure{margin:0 0 6px}
.strips figcaption{font-size:13px;color:var(--muted)}
.strips figcaption b{color:var(--ink)}
.strip{display:block;width:100%;overflow:visible}
figure{margin:0 0 26px}
figcaption{font-size:14px;color:var(--muted);margin-bottom:10px}
figcaption h3{color:var(--ink)}
figcaption b{color:var(--ink);font-weight:600}
.chart{padding:0 122px 0 48px}
.quad{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,290px),1fr));gap:4px 36px}.quad figure{margin-bottom:12px}
.quad .chart{padding:0 10px 0 52px}
svg.plot{display:block}svg.plot,svg.plot svg{overflow:visible}
svg text{font:12.5px system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;fill:var(--ink);font-variant-numeric:tabular-nums}
svg .tick{fill:var(--muted);font-size:12px}
svg .label{font-weight:600;fill:var(--c);paint-order:stroke;stroke:var(--halo);stroke-width:4px;stroke-linejoin:round}
svg .note{fill:var(--muted);font-size:12px;paint-order:stroke;stroke:var(--halo);stroke-width:5px;stroke-linejoin:round}
svg .grid{stroke:var(--rule);stroke-width:1}
svg .axis{stroke:var(--rule);stroke-width:1}
svg .marker{stroke:var(--muted);stroke-width:1;stroke-dasharray:3 3}
svg .line{fill:none;stroke:var(--c);stroke-width:2;stroke-linejoin:round;stroke-linecap:round;vector-effect:non-scaling-stroke}
svg .dots{fill:none;stroke:var(--c);stroke-width:6.5;stroke-linecap:round;vector-effect:non-scaling-stroke}
svg .band{fill:var(--c);stroke:none;opacity:.2}
svg .line.train,svg .line.thin,svg.plain .line{stroke-width:1.4}
svg .bars{fill:var(--c);opacity:.8}
svg .outline{fill:none;stroke:var(--c);stroke-width:1.5;vector-effect:non-scaling-stroke}
svg .open{fill:var(--ground);stroke:var(--c);stroke-width:2}
svg .full{fill:var(--c);stroke:var(--ground);stroke-width:1}
svg .gap{stroke:var(--c);stroke-width:2}
.float{--c:var(--float)}.ptq{--c:var(--ptq)}.qat{--c:var(--qat)}.train{--c:var(--train)}svg .label.train{--c:var(--muted)}
.k0{--c:var(--k0)}.k1{--c:var(--k1)}.k2{--c:var(--k2)}.k3{--c:var(--k3)}.k4{--c:var(--k4)}.k5{--c:var(--k5)}
svg .line.d1{stroke-dasharray:7 4}
.ink{color:var(--c);font-weight:600}
.sq{min-width:190px;width:26%}
.cells{display:grid;grid-template-columns:repeat(auto-fill,minmax(124px,1fr));gap:18px 20px;margin:0 0 24px}
.cells figure{margin:0;min-width:0}
.cells figcaption{margin:0 0 4px;font-size:12.5px;line-height:1.3;color:var(--ink);overflow-wrap:anywhere}
.cells svg{display:block;width:100%;height:44px;margin-top:6px;border-bottom:1px solid var(--muted);overflow:visible}
.ends{display:flex;justify-content:space-between;gap:6px;white-space:nowrap;font-size:11.5px;color:var(--muted);line-height:1.4}
.texts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,270px),1fr));gap:24px 34px}
.texts div{border-top:3px solid var(--c);padding-top:8px;min-width:0}
.texts h3{color:var(--c)}
.texts p{font-family:Charter,"Bitstream Charter","Sitka Text",Cambria,Georgia,serif;font-size:16px;white-space:pre-wrap;overflow-wrap:anywhere}
.texts b{font-weight:700}
.columns{columns:3 300px;column-gap:36px}
.columns table{break-inside:avoid;margin-bottom:22px;min-width:0;width:100%}
.columns th,.columns td{padding-block:3px;font-size:13px;overflow-wrap:anywhere}
.columns caption{color:var(--ink);font-weight:650;padding-bottom:3px}
.columns tbody th{color:var(--muted);white-space:normal;width:50%}
.set{font-weight:650}
ul{padding-left:20px;margin:0 0 12px;max-width:78ch}
li{margin-bottom:6px;overflow-wrap:anywhere}
.empty{border-left:3px solid var(--rule);padding:4px 0 4px 14px;color:var(--muted)}
footer{margin-top:48px;border-top:1px solid var(--rule);padding-top:12px;color:var(--muted);font-size:13px}
@media (max-width:640px){main{padding:22px 16px 48px}section{margin-top:34px;padding-top:20px}h2{font-size:22px}
.chart{padding:0 116px 0 38px}.quad .chart{padding:0 8px 0 46px}.cells{grid-template-columns:repeat(2,minmax(0,1fr))}
.facts{grid-template-columns:repeat(2,1fr);gap:14px 18px}.facts dd{font-size:18px}.columns{columns:1}tbody th.fix{position:sticky;left:0;background:var(--ground)}}
@media print{:root{--ground:#fff;--halo:#fff}.quad{grid-template-columns:repeat(3,1fr);gap:4px 18px}main{max-width:none;padding:0}body{font-size:10.5pt}section{break-inside:auto;margin-top:22pt;padding-top:12pt}
figure,tr,.texts div,.facts{break-inside:avoid}h2,h3,.sub{break-after:avoid}.scroll{overflow:visible}table{font-size:8.5pt}@page{margin:14mm}}
)css";

}  // namespace qat_llm
