// The template of the report page, and its style sheet.

import Mustache

extension ReportPage {
  /// The page as self-contained HTML.
  public func html() throws -> String {
    try MustacheTemplate(string: Self.template).render(values)
  }
}

extension ReportPage {
  static let style = """
    :root{color-scheme:light dark;--page:#fff;--panel:#f5f6f8;--line:#e3e6ea;--text:#161a20;--muted:#5c6673}
    @media(prefers-color-scheme:dark){:root{--page:#12151a;--panel:#1a1e25;--line:#2b313b;--text:#edf0f4;--muted:#98a2b0}}
    *{box-sizing:border-box}
    body{margin:0;background:var(--page);color:var(--text);line-height:1.5;
    font-family:ui-sans-serif,system-ui,-apple-system,"Segoe UI","DejaVu Sans",sans-serif}
    main{max-width:1120px;margin:0 auto;padding:56px 24px 80px}
    .eyebrow{margin:0;color:var(--muted);font-size:14px;letter-spacing:.04em}
    h1{font-size:34px;line-height:1.22;letter-spacing:-.015em;margin:6px 0 26px;max-width:24em;text-wrap:balance}
    h2{font-size:24px;margin:64px 0 4px;letter-spacing:-.01em}
    h3{font-size:18px;margin:0 0 2px}
    p{margin:0 0 14px;max-width:46em}.muted,figcaption{color:var(--muted)}
    figure{margin:0}svg{display:block;width:100%;height:auto}
    .cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(260px,1fr));gap:16px}
    .card{background:var(--panel);border-radius:12px;padding:18px 20px 20px}
    .card .count{font-size:44px;font-weight:700;line-height:1.1;letter-spacing:-.02em}
    .card .count small{font-size:18px;font-weight:500;letter-spacing:0}
    .card .what{color:var(--muted);font-size:14.5px;margin:4px 0 0}
    .bar{display:block;height:8px;margin-top:14px;border-radius:4px;overflow:hidden}
    .maps{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,440px),1fr));gap:36px 32px;margin-top:18px}
    .figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,480px),1fr));gap:28px;margin-top:18px}
    .figures figure{background:var(--panel);border-radius:12px;padding:20px 20px 14px;min-width:0}
    .figures .wide{grid-column:1/-1}
    figcaption{font-size:14.5px;margin-bottom:12px;max-width:40em}
    .scroll{overflow-x:auto}
    table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:15px}
    th,td{padding:8px 22px 8px 0;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap}
    th:first-child,td:first-child{text-align:left}th{color:var(--muted);font-weight:500}
    .problems{border-left:4px solid #e3a812;padding:10px 16px;background:var(--panel);border-radius:0 8px 8px 0;margin:24px 0}
    .problems p{margin:0}
    footer{margin-top:64px;border-top:1px solid var(--line);padding-top:16px;color:var(--muted);font-size:14px}
    code{font-family:ui-monospace,"DejaVu Sans Mono",monospace;font-size:.92em}
    .legend{display:flex;flex-wrap:wrap;gap:2px 20px;list-style:none;margin:0;padding:0;font-size:15px;color:var(--muted)}
    .legend li{display:flex;align-items:center;gap:7px}.legend svg{width:14px;height:14px}
    @media(max-width:600px){h1{font-size:27px}main{padding:32px 16px 48px}.figures figure{overflow-x:auto;padding:16px}
    .figures .narrow svg{min-width:460px}.figures .wide svg{min-width:760px}}

    """

  static let template = """
    <!DOCTYPE html>
    <html lang="en">
    <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <meta name="color-scheme" content="light dark">
    <title>KernelStacks: what was measured</title>
    <link rel="icon" href="data:,">
    <style>{{{style}}}</style>
    </head>
    <body>
    <main>
    <p class="eyebrow">KernelStacks</p>
    <h1>{{headline}}</h1>
    <section class="cards" aria-label="Forks that succeeded">
    {{#outcomes}}
    <div class="card">
    <div class="count">{{count}} <small>{{noun}}</small></div>
    <h3>{{strategy}} stacks</h3>
    <p class="what">{{what}}</p>
    <svg class="bar" viewBox="0 0 100 8" preserveAspectRatio="none" role="img" aria-label="{{count}} {{noun}}">
    <rect class="f-grid" width="100" height="8"/><rect class="f-{{role}}" width="{{share}}" height="8"/></svg>
    </div>
    {{/outcomes}}
    </section>
    {{#problems}}
    {{#first()}}<section class="problems" aria-label="Missing results">
    {{/first()}}<p>{{line}}</p>
    {{#last()}}</section>
    {{/last()}}{{/problems}}
    {{#legend}}
    <h2>What happened to memory</h2>
    <p>Every page frame of the machine, from the lowest address at the top left. Grey and green alternate everywhere: \
    half of memory is free, in pieces too small for a contiguous stack. Stacks made of single pages fill the gaps.</p>
    <ul class="legend" aria-label="What each colour of the maps stands for">
    {{#entries}}
    <li><svg viewBox="0 0 14 14" aria-hidden="true"><rect class="f-{{role}}" width="14" height="14" rx="2"/></svg>{{name}}</li>
    {{/entries}}
    </ul>
    {{/legend}}
    <div class="maps">
    {{#maps}}
    <figure>{{{picture}}}</figure>
    {{/maps}}
    </div>
    <h2>What it gained, and what it cost</h2>
    <p class="muted">Costs are instructions that the processor retired, counted exactly: the same figures run after run.</p>
    <div class="figures">
    {{#figures}}
    <figure class="{{width}}">
    <h3>{{heading}}</h3>
    <figcaption>{{caption}}</figcaption>
    {{{picture}}}
    </figure>
    {{/figures}}
    </div>
    {{#linux}}
    <h2>The same in Linux</h2>
    <p>Three Linux 6.1 kernels in memory that was broken in the same way. Costs in instructions, with 1,000 stacks live.</p>
    <div class="scroll"><table>
    <thead><tr><th>kernel stacks</th><th>forks</th><th>allocate</th><th>free</th><th>worst free</th></tr></thead>
    <tbody>
    {{#rows}}
    <tr><td>{{kernel}}</td><td>{{forks}}</td><td>{{allocate}}</td><td>{{free}}</td><td>{{worst}}</td></tr>
    {{/rows}}
    </tbody>
    </table></div>
    {{/linux}}
    <footer>
    {{#machine}}<p>Measured on {{machine}}.</p>{{/machine}}
    {{#hasFiles}}<p>Made from {{files}} by <code>kstacks report</code>.</p>{{/hasFiles}}
    </footer>
    </main>
    </body>
    </html>

    """
}
