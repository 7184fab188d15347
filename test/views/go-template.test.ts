import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { UsageError } from "../../src/errors.ts";
import { alignColumns } from "../../src/views/go-template/tabwriter.ts";
import { parseRowFormat, parseTemplate, renderRows } from "../../src/views/go-template.ts";

const data = {
  ID: "sha256:0123456789ab",
  Tag: "<none>",
  Size: 1234567,
  Zero: 0,
  Neg: -42,
  Ratio: 0.75,
  Big: 1.5e22,
  Small: 0.00001234,
  Million: 1234567.5,
  Yes: true,
  No: false,
  Empty: "",
  Uni: "héllo wörld ß",
  Words: "hello big-world it's_a x2y",
  Names: ["web", "db", "cache"],
  Mixed: [1, "a", null, true, 2.5],
  None: [],
  Nil: null,
  Labels: { b: "2", a: "1", "c.d": "3" },
  Nested: { A: { B: { C: "deep" } }, L: [{ N: 1 }, { N: 2 }], Nil: null },
  EmptyMap: {},
  Quote: 'a"b\\c\td\u0001é\u2028',
};

/** Templates over `data`, a row, with what Go 1.19's text/template and docker's functions print. */
const outputs: Record<string, readonly (readonly [template: string, output: string])[]> = {
  literals: [
    ["plain", "plain"],
    ["{{-3}}", "-3"],
    [
      "{{1}} {{-1}} {{+1}} {{0x1F}} {{0b101}} {{0o17}} {{017}} {{1_000}} {{1.0}} {{1.5}} {{.5}} {{1e3}} {{1e6}} {{1e20}} {{1e21}} {{1e-5}} {{1.}}",
      "1 -1 1 31 5 15 15 1000 1 1.5 0.5 1000 1e+06 1e+20 1e+21 1e-05 1",
    ],
    [
      "{{123456789.0}} {{1234567.0}} {{100000.0}} {{1e5}} {{0.0001}} {{0.00001}}",
      "1.23456789e+08 1.234567e+06 100000 100000 0.0001 1e-05",
    ],
    ["{{9223372036854775807}}", "9223372036854775807"],
    ["{{9007199254740993}}", "9007199254740993"],
    ["{{'a'}} {{'\\n'}} {{'é'}} {{'\\x41'}} {{'\\''}} {{'\\u00e9'}}", "97 10 233 65 39 233"],
    ['{{"a\\tb\\n\\"q\\"\\\\ \\x41\\101\\u00e9\\U0001F600"}}', 'a\tb\n"q"\\ AAé😀'],
    ['{{"\\xe2\\x82\\xac"}}', "€"],
    ['{{`raw \\n "x"`}}', 'raw \\n "x"'],
    ["{{`a\nb`}}", "a\nb"],
    ["{{true}} {{false}}", "true false"],
    ["{{1 |}}", "1"],
    ["{{(1 |)}}", "1"],
    ["{{((1))}}", "1"],
    ["}}", "}}"],
    ['{{"{{"}} {{`}}`}}', "{{ }}"],
    ['a{{""}}b', "ab"],
  ],
  "fields and pipelines": [
    ["{{.ID}}", "sha256:0123456789ab"],
    ["a {{.ID}} b", "a sha256:0123456789ab b"],
    ["{{ .ID }}", "sha256:0123456789ab"],
    ["{{.Size}} {{.Neg}} {{.Ratio}} {{.Yes}} {{.No}}", "1234567 -42 0.75 true false"],
    ["{{.Big}} {{.Small}} {{.Million}}", "1.5e+22 1.234e-05 1.2345675e+06"],
    [
      "{{.Nil}}|{{.Names}}|{{.Mixed}}|{{.None}}|{{.Labels}}|{{.EmptyMap}}",
      "<no value>|[web db cache]|[1 a <nil> true 2.5]|[]|map[a:1 b:2 c.d:3]|map[]",
    ],
    ["{{.Nested}}", "map[A:map[B:map[C:deep]] L:[map[N:1] map[N:2]] Nil:<nil>]"],
    ["{{.Nested.A.B.C}}", "deep"],
    ["{{.Nested.Missing}}", "<no value>"],
    ["{{.Nested.Missing.X}}", "<no value>"],
    ["{{$.ID}}", "sha256:0123456789ab"],
    ["{{(.Nested.A).B.C}}", "deep"],
    ["{{(.ID)}}", "sha256:0123456789ab"],
    ["{{ .ID }}\t{{ .Tag }}\n", "sha256:0123456789ab\t<none>\n"],
    ["{{.Labels.constructor}}", "<no value>"],
    ["{{.Labels.__proto__}}", "<no value>"],
  ],
  "trimming and comments": [
    ["{{/* c */}}x", "x"],
    ["a {{- /* c */ -}} b", "ab"],
    ["a {{- .Tag -}} b", "a<none>b"],
    ["a\n\n{{- .Tag}}\t\n{{.Tag -}}\n b", "a<none>\t\n<none>b"],
    ["{{- 3}} x", "3 x"],
    ["x {{3 -}} y", "x 3y"],
    ["{{/**/}}", ""],
    ["{{- /* x */}} y", " y"],
    ["{{.ID}}{{/* {{.Foo}} */}}", "sha256:0123456789ab"],
    ["{{.ID -}}", "sha256:0123456789ab"],
  ],
  "if and with": [
    ["{{with .Nested}}{{$.ID}}{{.A}}{{end}}", "sha256:0123456789abmap[B:map[C:deep]]"],
    ["{{if .ID}}y{{else}}n{{end}}", "y"],
    ["{{if .Empty}}y{{else}}n{{end}}", "n"],
    ["{{if .Zero}}y{{else if .Yes}}m{{else}}n{{end}}", "m"],
    ["{{if .Zero}}y{{else if .No}}m{{else}}n{{end}}", "n"],
    [
      "{{if .None}}y{{end}}{{if .Names}}z{{end}}{{if .EmptyMap}}e{{end}}{{if .Labels}}l{{end}}{{if .Nil}}k{{end}}{{if 0.0}}f{{end}}{{if .Ratio}}r{{end}}{{if .}}d{{end}}",
      "zlrd",
    ],
    ["{{if not .No}}x{{end}}", "x"],
    ["{{if and .ID .Size}}x{{end}}", "x"],
    ["{{if (and .ID (not .No))}}x{{end}}", "x"],
    ["{{with .ID}}{{.}}{{end}}", "sha256:0123456789ab"],
    ["{{with .Empty}}x{{else}}y{{end}}", "y"],
    ["{{with .Nested.A}}{{.B.C}}{{end}}", "deep"],
    ["{{if true}}{{if false}}a{{else}}b{{end}}{{end}}", "b"],
    ["{{if gt (len .Names) 2}}many{{end}}", "many"],
    ['{{if or (eq .Tag "x") (eq .Tag "<none>")}}dangling{{end}}', "dangling"],
    ["{{if eq 1 1 | not}}a{{else}}b{{end}}", "b"],
  ],
  variables: [
    ["{{$x := .ID}}{{$x}}", "sha256:0123456789ab"],
    ["{{$x := 1}}{{$x = 2}}{{$x}}", "2"],
    ["{{if $x := .ID}}{{$x}}{{end}}", "sha256:0123456789ab"],
    ["{{$x := 1}}{{if true}}{{$x = 2}}{{end}}{{$x}}", "2"],
    ["{{$x := 1}}{{if true}}{{$x := 2}}{{$x}}{{end}}{{$x}}", "21"],
    ["{{$x := .Nested}}{{$x.A.B.C}}", "deep"],
    ["{{$x:=3}}{{$x}}", "3"],
    ["{{$x := .Nil}}{{$x.Foo}}", "<no value>"],
    ["{{with $x := .Size}}{{$x}}{{.}}{{end}}", "12345671234567"],
    ['{{$s := split .ID ":"}}{{index $s 0}}/{{slice (index $s 1) 0 4}}', "sha256/0123"],
    ["{{ $ := 1 }}{{$}}", "1"],
  ],
  range: [
    ["{{range .Names}}{{.}},{{end}}", "web,db,cache,"],
    ["{{range $i, $e := .Names}}{{$i}}={{$e}} {{end}}", "0=web 1=db 2=cache "],
    ["{{range $e := .Names}}{{$e}} {{end}}", "web db cache "],
    ["{{range $k, $v := .Labels}}{{$k}}:{{$v}};{{end}}", "a:1;b:2;c.d:3;"],
    ["{{range .Labels}}{{.}}{{end}}", "123"],
    ["{{range .None}}x{{else}}none{{end}}", "none"],
    ["{{range .Nil}}x{{else}}none{{end}}", "none"],
    ['{{range .Names}}{{if eq . "db"}}{{continue}}{{end}}{{.}}{{end}}', "webcache"],
    ['{{range .Names}}{{if eq . "db"}}{{break}}{{end}}{{.}}{{end}}', "web"],
    ["{{range .Names}}{{range $.Names}}{{break}}{{end}}{{.}}{{end}}", "webdbcache"],
    ["{{range .Mixed}}[{{.}}]{{end}}", "[1][a][<no value>][true][2.5]"],
    ["{{range .Nested.L}}{{.N}}{{end}}", "12"],
    ["{{range .Names}}{{$.ID}}{{end}}", "sha256:0123456789absha256:0123456789absha256:0123456789ab"],
    ["{{range $i, $e := .Names}}{{if $i}}, {{end}}{{$e}}{{end}}", "web, db, cache"],
    ["{{$n := 0}}{{range $i, $e := .Names}}{{$n = $i}}{{end}}{{$n}}", "2"],
    ["{{range $x := .Names | len | slice .Names 1}}{{$x}}{{end}}", "dbcache"],
  ],
  "comparison and logic": [
    ["{{eq nil nil}}", "true"],
    [
      '{{eq 1 1}} {{eq 1 2}} {{eq 1 2 1}} {{eq .ID "x" .ID}} {{eq 1.0 1.0}} {{eq true true}} {{eq .Nil nil}} {{eq .Nil 1}} {{eq 1 nil}} {{eq .Nested.Missing nil}}',
      "true false true true true true true false false true",
    ],
    ["{{eq .Names nil}}", "false"],
    ['{{ne 1 2}} {{ne 1 1}} {{ne "a" "b"}}', "true false true"],
    [
      '{{lt 1 2}} {{lt 2 1}} {{lt "a" "b"}} {{lt 1.5 2.5}} {{le 1 1}} {{le 2 1}} {{gt 2 1}} {{gt 1 1}} {{ge 1 1}} {{ge 0 1}} {{lt -1 0}} {{gt .Size 1000}}',
      "true false true true true false true false true false true true",
    ],
    ['{{lt "é" "z"}}', "false"],
    [
      '{{and 1 0 2}} {{and 1 2}} {{and .Empty 1}}| {{or 0 2 3}} {{or 0 ""}} {{or .Nil "d"}} {{and 1}} {{or 0}} {{not 0}} {{not 1}} {{not .Nil}}',
      "0 2 | 2  d 1 0 true false true",
    ],
    ["{{.ID | and true}}", "sha256:0123456789ab"],
    ["{{1 | or 0}}", "1"],
    ["{{and nil 1}}", "<no value>"],
    ["{{.Yes | not}}", "false"],
    ["{{true | not}}", "false"],
    ["{{not true | not}}", "true"],
  ],
  "len, index, slice": [
    ["{{(index .Names 1)}}", "db"],
    ["{{(index .Nested.L 0).N}}", "1"],
    ['{{len .ID}} {{len .Uni}} {{len .Names}} {{len .Labels}} {{len ""}}', "19 16 3 3 0"],
    [
      '{{index .Names 0}} {{index .Labels "a"}} {{index .Labels "c.d"}} {{index .Labels "zz"}} {{index .ID 0}} {{index .Nested "A" "B" "C"}} {{index .Names}}',
      "web 1 3 <no value> 115 deep [web db cache]",
    ],
    [
      "{{slice .ID 7 13}} {{slice .ID 7}} {{slice .ID}} {{slice .Names 1}} {{slice .Names 0 2}} {{slice .Names 3}}",
      "012345 0123456789ab sha256:0123456789ab [db cache] [web db] []",
    ],
    ["{{slice .Names 1 2 3}}", "[db]"],
    ["{{and false (index .Names 9)}}", "false"],
    ["{{or true (index .Names 9)}}", "true"],
    [
      '{{split "a,b,c" ","}} {{len (split "a,b" ",")}} {{index (split "a:b" ":") 1}} {{split "abc" ""}} {{split "" ","}} {{split "é€" ""}} {{json (split "a,b" ",")}}',
      '[a b c] 2 b [a b c] [] [é €] ["a","b"]',
    ],
    ['{{index .Labels "__proto__"}}', "<no value>"],
    ["{{eq (index .ID 0) 115}}", "true"],
    ["{{eq (len .Names) 3}}", "true"],
  ],
  "print and println": [
    ["{{print nil}}", "<nil>"],
    ["{{print .Nil}}", "<nil>"],
    ["{{print .Nested.Missing}}", "<nil>"],
    ["{{print .ID .Tag}}", "sha256:0123456789ab<none>"],
    ["{{ print\n.ID }}", "sha256:0123456789ab"],
    ["{{print}}|{{println}}", "|\n"],
    ["{{print 1 2}}", "1 2"],
    ['{{print "a" "b"}}', "ab"],
    ['{{print 1 "a" 2 3}}', "1a2 3"],
    ["{{print 1.5 true nil .Names}}", "1.5 true <nil> [web db cache]"],
    ['{{println 1 "a" 2}}', "1 a 2\n"],
    ["{{print .Labels .Names}}", "map[a:1 b:2 c.d:3] [web db cache]"],
    ['{{print "a" 1 2 "b" "c" 3}}', "a1 2bc3"],
    ["{{1 | print 2 | print 3}}", "32 1"],
    ["{{$x := 1 | print}}{{$x}}", "1"],
    ["{{print -1}}", "-1"],
    ["{{print +.5e-3}}", "0.0005"],
    ["{{print 00}} {{print 0_7}} {{print 0.}} {{print 00.5}}", "0 7 0 0.5"],
  ],
  printf: [
    ['{{.ID | printf "%s"}}', "sha256:0123456789ab"],
    ['{{.ID | printf "%s-%s" "q"}}', "q-sha256:0123456789ab"],
    ['{{.ID | len | printf "%03d"}}', "019"],
    [
      '{{printf "%s|%10s|%-10s|%.2s|%5.1s|%05s" .Tag .Tag .Tag .Tag .Tag .Tag}}',
      "<none>|    <none>|<none>    |<n|    <|<none>",
    ],
    [
      '{{printf "%d|%5d|%-5d|%05d|%+d|% d|%x|%X|%o|%b|%c|%q|%#x|%#o|%O|%#b" .Size .Zero .Zero .Neg .Size .Size .Size .Size .Size .Zero 65 65 255 8 8 5}}',
      "1234567|    0|0    |-0042|+1234567| 1234567|12d687|12D687|4553207|0|A|'A'|0xff|010|0o10|0b101",
    ],
    [
      '{{printf "%x %X % x %#x %.2x %10x|" .Tag .Tag .Tag .Tag .Tag "a"}}',
      "3c6e6f6e653e 3C6E6F6E653E 3c 6e 6f 6e 65 3e 0x3c6e6f6e653e 3c6e         61|",
    ],
    [
      '{{printf "%q %q %#q %q" .Tag .Quote .Tag .Uni}}',
      '"<none>" "a\\"b\\\\c\\td\\x01é\\u2028" `<none>` "héllo wörld ß"',
    ],
    ['{{printf "%v %v %v %v %v" .ID .Size .Ratio .Yes .Nil}}', "sha256:0123456789ab 1234567 0.75 true <nil>"],
    ['{{printf "%t %t" .Yes .No}}', "true false"],
    [
      '{{printf "%f %.2f %8.3f %-8.1f| %+.1f %08.2f %e %.3e %E %g %G %.3g" .Ratio .Ratio .Ratio .Ratio .Ratio .Ratio .Ratio .Big .Small .Big .Big .Million}}',
      "0.750000 0.75    0.750 0.8     | +0.8 00000.75 7.500000e-01 1.500e+22 1.234000E-05 1.5e+22 1.5E+22 1.23e+06",
    ],
    [
      '{{printf "%.0f %.0f %.0f %.1f %.1f %.20f %.0e %g %v" 0.5 1.5 2.5 0.25 0.35 0.1 2.5 1e6 1e6}}',
      "0 2 2 0.2 0.3 0.10000000000000000555 2e+00 1e+06 1e+06",
    ],
    [
      '{{printf "%g %g %g %g %g %g" 100000.0 1000000.0 123456789.0 1e20 1e21 1e-5}}',
      "100000 1e+06 1.23456789e+08 1e+20 1e+21 1e-05",
    ],
    ['{{printf "%.3g %.10g %.1g %.0g %g" 1234.5678 1234.5678 0.0 55.5 0.0}}', "1.23e+03 1234.5678 0 6e+01 0"],
    ['{{printf "%f %.3f %e" 0.0 1e22 0.0}}', "0.000000 10000000000000000000000.000 0.000000e+00"],
    [
      '{{printf "%T %T %T %T %T %T %T %T" .ID .Size .Ratio .Yes .Nil .Names .Mixed .Labels}}',
      "string int float64 bool <nil> []string []interface {} map[string]interface {}",
    ],
    [
      '{{printf "%d %s %x %q %v" .Names .Names .Names .Names .Names}}',
      '[%!d(string=web) %!d(string=db) %!d(string=cache)] [web db cache] [776562 6462 6361636865] ["web" "db" "cache"] [web db cache]',
    ],
    [
      '{{printf "%v %d %s" .Mixed .Mixed .Mixed}}',
      "[1 a <nil> true 2.5] [1 %!d(string=a) <nil> %!d(bool=true) %!d(float64=2.5)] [%!s(int=1) a <nil> %!s(bool=true) %!s(float64=2.5)]",
    ],
    [
      '{{printf "%v %s %q" .Labels .Labels .Labels}}',
      'map[a:1 b:2 c.d:3] map[a:1 b:2 c.d:3] map["a":"1" "b":"2" "c.d":"3"]',
    ],
    [
      '{{printf "%5d|%-4v|" .Mixed .Mixed}}',
      "[    1 %!d(string=    a) <nil> %!d(bool= true) %!d(float64=  2.5)]|[1    a    <nil> true 2.5 ]|",
    ],
    ['{{printf "%%|%5%|100%"}}', "%|%|100%!(NOVERB)"],
    ['{{printf "%"}}', "%!(NOVERB)"],
    ['{{printf "%d"}}', "%!d(MISSING)"],
    ['{{printf "%d" .ID}}', "%!d(string=sha256:0123456789ab)"],
    ['{{printf "%s" .Size}}', "%!s(int=1234567)"],
    ['{{printf "%z" 1}}', "%!z(int=1)"],
    ['{{printf "%!"}}', "%!!(MISSING)"],
    ['{{printf "x" 1 "a"}}', "x%!(EXTRA int=1, string=a)"],
    ['{{printf "%[2]s %[1]s" "a" "b"}}', "b a"],
    ['{{printf "%[1]d %[1]x" 255}}', "255 ff"],
    ['{{printf "%[3]d" 1}}', "%!d(BADINDEX)"],
    ['{{printf "%[x]d" 1}}', "%!d(BADINDEX)"],
    ['{{printf "%s" nil}}', "%!s(<nil>)"],
    ['{{printf "%d" nil}}', "%!d(<nil>)"],
    ['{{printf "%t" 1}}', "%!t(int=1)"],
    ['{{printf "%d" true}}', "%!d(bool=true)"],
    ['{{printf "%d" 1.0}}', "%!d(float64=1)"],
    ['{{printf "%f" 1}}', "%!f(int=1)"],
    ['{{printf "%.3d|%.0d|%8.3d|%-8.3d|%08.3d" 5 0 5 5 5}}', "005||     005|005     |     005"],
    ['{{printf "%+v %+q" .Names .Uni}}', '[web db cache] "h\\u00e9llo w\\u00f6rld \\u00df"'],
    ['{{printf "%c%c" 233 128512}}', "é😀"],
    ['{{printf "%-5t|%5t|" true false}}', "true |false|"],
    ['{{printf "%5v|%-5v|" nil nil}}', "<nil>|<nil>|"],
    ['{{printf "%6.2f%%" 12.345}}', " 12.35%"],
    ["{{printf .ID}}", "sha256:0123456789ab"],
    ['{{printf "%é" 1}}', "%!é(int=1)"],
    ['{{printf "%5é" 1}}', "%!é(int=    1)"],
    ['{{printf "%s %s" .Uni}}', "héllo wörld ß %!s(MISSING)"],
    ['{{printf "%10s|%-15s|" .Uni .Uni}}', "héllo wörld ß|héllo wörld ß  |"],
    ['{{printf "%-05d|" 3}}', "3    |"],
    ['{{printf "%+5d|%-+5d|" 3 3}}', "   +3|+3   |"],
    ['{{printf "% 5d|% x" 3 255}}', "    3| ff"],
    ['{{printf "%08.3f|%+08.3f|%-8.3f|% .2f" -1.5 1.5 1.5 1.5}}', "-001.500|+001.500|1.500   | 1.50"],
    ['{{printf "%10.3v|%.3v" 1.23456 "abcdef"}}', "      1.23|abc"],
    ['{{printf "%T|%10T|" 1 1}}', "int|       int|"],
    [
      '{{printf "%s" .Nested}}',
      "map[A:map[B:map[C:deep]] L:[map[N:%!s(int=1)] map[N:%!s(int=2)]] Nil:<nil>]",
    ],
    ["{{printf \"%q\" 'x'}}", "'x'"],
    ["{{printf \"%s %v\" true 'x'}}", "%!s(bool=true) 120"],
    ['{{printf "%010d|%010s" -5 "é"}}', "-000000005|000000000é"],
    ['{{printf "%#v" 1}}', "1"],
    ['{{printf "%v" .EmptyMap}}', "map[]"],
    ['{{printf "%x" .Names}}', "[776562 6462 6361636865]"],
    ['{{printf "% d" .Mixed}}', "[ 1 %!d(string=a) <nil> %!d(bool=true) %!d(float64= 2.5)]"],
    ['{{printf "%q" .Mixed}}', "['\\x01' \"a\" <nil> %!q(bool=true) %!q(float64=2.5)]"],
    ['{{upper (printf "%s" .Tag)}}', "<NONE>"],
    ['{{printf "%s" (upper .Tag) | lower | printf "%q"}}', '"<none>"'],
    [
      '{{range $i, $n := .Names}}{{if eq $i 1}}{{$n | upper | printf "%-6s|"}}{{else}}{{$n}}{{end}}{{end}}',
      "webDB    |cache",
    ],
    ['{{printf "%v" (eq 1 1)}}', "true"],
    ['{{printf "%c" (index .ID 0)}}', "s"],
    ['{{ .ID | printf "%d" }}', "%!d(string=sha256:0123456789ab)"],
  ],
  "docker's functions": [
    ['{{"x" | upper}}', "X"],
    [
      "{{json .ID}} {{json .Tag}} {{json .Size}} {{json .Ratio}} {{json .Big}} {{json .Small}} {{json .Yes}} {{json .Nil}} {{json .Names}} {{json .Mixed}} {{json .Labels}} {{json .Nested}} {{json .None}} {{json .EmptyMap}}",
      '"sha256:0123456789ab" "<none>" 1234567 0.75 1.5e+22 0.00001234 true null ["web","db","cache"] [1,"a",null,true,2.5] {"a":"1","b":"2","c.d":"3"} {"A":{"B":{"C":"deep"}},"L":[{"N":1},{"N":2}],"Nil":null} [] {}',
    ],
    ["{{json .Quote}}", '"a\\"b\\\\c\\td\\u0001é\\u2028"'],
    [
      '{{json nil}} {{json 1e21}} {{json 1e20}} {{json 1e-7}} {{json 1.0}} {{json 0.000001}} {{json "<&>"}} {{json 123456789012.0}}',
      'null 1e+21 100000000000000000000 1e-7 1 0.000001 "<&>" 123456789012',
    ],
    ["{{.Names | json}}", '["web","db","cache"]'],
    ['{{join .Names ","}} {{join .Names ""}}', "web,db,cache webdbcache"],
    ['{{join (split "a-b" "-") "+"}}', "a+b"],
    [
      '{{title .Words}} {{title .Uni}} {{title "ALL caps"}} {{title ""}} {{title "3com é.x"}}',
      "Hello Big-World It'S_a X2y Héllo Wörld ß ALL Caps  3com É.X",
    ],
    ['{{title "a·b —c x\u0301y \u00a0z (q) \\"w\\""}}', 'A·b —c X\u0301y \u00a0Z (Q) "W"'],
    ['{{pad .Tag 2 3}}|{{pad "" 2 3}}|{{pad .Tag 0 0}}|', "  <none>   ||<none>|"],
    [
      "{{truncate .ID 6}} {{truncate .ID 99}} {{truncate .ID 0}}|{{truncate .Uni 3}}",
      "sha256 sha256:0123456789ab |hé",
    ],
    ["{{truncate .Tag 6}}", "<none>"],
    ['{{truncate "" 0}}|', "|"],
  ],
};

/** Templates that Go refuses, with its words. */
const refusals: readonly (readonly [template: string, message: string])[] = [
  ["{{/* a", "1: unclosed comment"],
  ["{{/* a */ }}", "1: comment ends before closing delimiter"],
  ["{{/*a*/-}} x", "1: comment ends before closing delimiter"],
  ["{{3x}}", '1: bad number syntax: "3x"'],
  ['{{"a', "1: unterminated quoted string"],
  ["{{`a", "1: unterminated raw quoted string"],
  ["{{'a", "1: unterminated character constant"],
  ['{{"a\nb"}}', "1: unterminated quoted string"],
  ["{{nil}}", '1:2: executing "format" at <nil>: nil is not a command'],
  ["{{$x}}", '1: undefined variable "$x"'],
  ["{{if $x := .ID}}{{end}}{{$x}}", '1: undefined variable "$x"'],
  ["{{$x=3}}", "1: bad character U+003D '='"],
  ["{{$x, $y := 1}}", "1: too many declarations in command"],
  ["{{$a.b := 1}}", '1: undefined variable "$a"'],
  ["{{if}}x{{end}}", "1: missing value for if"],
  ["{{if .ID}}x", "1: unexpected EOF"],
  ["{{end}}", "1: unexpected {{end}}"],
  ["{{else}}", "1: unexpected {{else}}"],
  ["{{if .ID}}a{{else}}b{{else}}c{{end}}", "1: expected end; found {{else}}"],
  ["{{if .ID}}a{{else if .No}}b", "1: unexpected EOF"],
  [
    "{{range .ID}}x{{end}}",
    '1:8: executing "format" at <.ID>: range can\'t iterate over sha256:0123456789ab',
  ],
  ["{{range .Yes}}x{{end}}", '1:8: executing "format" at <.Yes>: range can\'t iterate over true'],
  ["{{break}}", "1: {{break}} outside {{range}}"],
  ["{{continue}}", "1: {{continue}} outside {{range}}"],
  ["{{range .Names}}{{end}}{{break}}", "1: {{break}} outside {{range}}"],
  ["{{range $i, $e, $f := .Names}}{{end}}", "1: too many declarations in range"],
  ["{{range $i, .ID}}{{end}}", "1: range can only initialize variables"],
  ["{{range $i, $e := .Names}}{{end}}{{$i}}", '1: undefined variable "$i"'],
  ["{{with range}}{{end}}", "1: unexpected <range> in with"],
  [
    "{{.ID | .Tag}}",
    '1:8: executing "format" at <.Tag>: Tag has arguments but cannot be invoked as function',
  ],
  ["{{.ID | 3}}", "1: non executable command in pipeline stage 2"],
  ['{{.ID | "x"}}', "1: non executable command in pipeline stage 2"],
  ["{{1 2}}", '1:2: executing "format" at <1>: can\'t give argument to non-function 1'],
  ["{{.ID 1}}", '1:2: executing "format" at <.ID>: ID has arguments but cannot be invoked as function'],
  ["{{.ID | $}}", '1:8: executing "format" at <$>: can\'t give argument to non-function $'],
  ["{{|}}", '1: unexpected "|" in command'],
  ["{{1 || 2}}", '1: unexpected "|" in command'],
  ["{{()}}", "1: missing value for parenthesized pipeline"],
  ["{{(}}", "1: unclosed left paren"],
  ["{{(1}}", "1: unclosed left paren"],
  ["{{1 (2)}}", '1:2: executing "format" at <1>: can\'t give argument to non-function 1'],
  ["{{print (1)(2)}}", '1: unexpected "(" in operand'],
  ['{{print 1"a"}}', '1: unexpected "\\"a\\"" in operand'],
  ["{{}}", "1: missing value for command"],
  ["{{ }}", "1: missing value for command"],
  ["{{", "1: unclosed action"],
  ["{{.ID}", "1: bad character U+007D '}'"],
  ["{{.ID", "1: unclosed action"],
  ["{{@}}", '1: unexpected "@" in command'],
  ["{{.ID@}}", "1: bad character U+0040 '@'"],
  ["{{.ID/2}}", "1: bad character U+002F '/'"],
  ["{{.ID,}}", '1: unexpected "," in operand'],
  ["{{π}}", '1: function "π" not defined'],
  ["{{foo}}", '1: function "foo" not defined'],
  ["{{foo.bar}}", '1: function "foo" not defined'],
  ['{{"a".ID}}', '1: unexpected . after term "\\"a\\""'],
  ["{{true.ID}}", '1: unexpected . after term "true"'],
  ["{{nil.ID}}", '1: unexpected . after term "nil"'],
  ["{{..ID}}", '1: unexpected . after term "."'],
  ["{{. .ID}}", '1:2: executing "format" at <.>: can\'t give argument to non-function .'],
  ["{{$ .ID}}", '1:2: executing "format" at <$>: can\'t give argument to non-function $'],
  ["{{printf .Size}}", '1:9: executing "format" at <.Size>: wrong type for value; expected string; got int'],
  [
    "{{printf}}",
    '1:2: executing "format" at <printf>: wrong number of args for printf: want at least 1 got 0',
  ],
  ["{{len .Size}}", '1:2: executing "format" at <len .Size>: error calling len: len of type int'],
  ["{{len .Nil}}", '1:2: executing "format" at <len .Nil>: error calling len: len of nil pointer'],
  ["{{len}}", '1:2: executing "format" at <len>: wrong number of args for len: want 1 got 0'],
  [
    "{{index .Names 9}}",
    '1:2: executing "format" at <index .Names 9>: error calling index: index out of range: 9',
  ],
  [
    "{{index .Names -1}}",
    '1:2: executing "format" at <index .Names -1>: error calling index: index out of range: -1',
  ],
  [
    '{{index .Names "x"}}',
    '1:2: executing "format" at <index .Names "x">: error calling index: cannot index slice/array with type string',
  ],
  [
    "{{index .Names nil}}",
    '1:2: executing "format" at <index .Names nil>: error calling index: cannot index slice/array with nil',
  ],
  [
    "{{index .Names 1.0}}",
    '1:2: executing "format" at <index .Names 1.0>: error calling index: cannot index slice/array with type float64',
  ],
  [
    "{{index .Labels 1}}",
    '1:2: executing "format" at <index .Labels 1>: error calling index: value has type int; should be string',
  ],
  [
    "{{index .Size 0}}",
    '1:2: executing "format" at <index .Size 0>: error calling index: can\'t index item of type int',
  ],
  ["{{index nil 0}}", '1:2: executing "format" at <index nil 0>: error calling index: index of untyped nil'],
  [
    "{{index .Nil 0}}",
    '1:2: executing "format" at <index .Nil 0>: error calling index: index of untyped nil',
  ],
  [
    '{{index .Nested "Nil" "x"}}',
    '1:2: executing "format" at <index .Nested "Nil" "x">: error calling index: index of nil pointer',
  ],
  [
    '{{index .Nested "zz" "x"}}',
    '1:2: executing "format" at <index .Nested "zz" "x">: error calling index: index of nil pointer',
  ],
  ["{{index}}", '1:2: executing "format" at <index>: wrong number of args for index: want at least 1 got 0'],
  [
    "{{index .ID 99}}",
    '1:2: executing "format" at <index .ID 99>: error calling index: index out of range: 99',
  ],
  [
    "{{slice .ID 5 3}}",
    '1:2: executing "format" at <slice .ID 5 3>: error calling slice: invalid slice index: 5 > 3',
  ],
  [
    "{{slice .ID 1 2 3}}",
    '1:2: executing "format" at <slice .ID 1 2 3>: error calling slice: cannot 3-index slice a string',
  ],
  [
    "{{slice .ID 99}}",
    '1:2: executing "format" at <slice .ID 99>: error calling slice: index out of range: 99',
  ],
  [
    "{{slice .Size 1}}",
    '1:2: executing "format" at <slice .Size 1>: error calling slice: can\'t slice item of type int',
  ],
  ["{{slice nil}}", '1:2: executing "format" at <slice nil>: error calling slice: slice of untyped nil'],
  [
    "{{slice .ID -1}}",
    '1:2: executing "format" at <slice .ID -1>: error calling slice: index out of range: -1',
  ],
  [
    "{{slice .Names 0 1 2 3}}",
    '1:2: executing "format" at <slice .Names 0 1 2 3>: error calling slice: too many slice indexes: 4',
  ],
  [
    "{{slice .Labels 1}}",
    '1:2: executing "format" at <slice .Labels 1>: error calling slice: can\'t slice item of type map[string]interface {}',
  ],
  [
    '{{slice .ID "a"}}',
    '1:2: executing "format" at <slice .ID "a">: error calling slice: cannot index slice/array with type string',
  ],
  ["{{eq 1}}", '1:2: executing "format" at <eq 1>: error calling eq: missing argument for comparison'],
  [
    "{{eq 1 1.0}}",
    '1:2: executing "format" at <eq 1 1.0>: error calling eq: incompatible types for comparison',
  ],
  [
    '{{eq 1 "a"}}',
    '1:2: executing "format" at <eq 1 "a">: error calling eq: incompatible types for comparison',
  ],
  [
    "{{eq .Names 1}}",
    '1:2: executing "format" at <eq .Names 1>: error calling eq: incompatible types for comparison',
  ],
  ["{{eq}}", '1:2: executing "format" at <eq>: wrong number of args for eq: want at least 1 got 0'],
  [
    "{{lt 1 1.0}}",
    '1:2: executing "format" at <lt 1 1.0>: error calling lt: incompatible types for comparison',
  ],
  [
    "{{lt true false}}",
    '1:2: executing "format" at <lt true false>: error calling lt: invalid type for comparison',
  ],
  [
    "{{le true false}}",
    '1:2: executing "format" at <le true false>: error calling le: invalid type for comparison',
  ],
  ["{{lt nil 1}}", '1:2: executing "format" at <lt nil 1>: error calling lt: invalid type for comparison'],
  [
    "{{lt .Names .Names}}",
    '1:2: executing "format" at <lt .Names .Names>: error calling lt: invalid type for comparison',
  ],
  [
    "{{or false (index .Names 9)}}",
    '1:12: executing "format" at <index .Names 9>: error calling index: index out of range: 9',
  ],
  ["{{and}}", '1:2: executing "format" at <and>: wrong number of args for and: want at least 1 got 0'],
  ["{{or}}", '1:2: executing "format" at <or>: wrong number of args for or: want at least 1 got 0'],
  ["{{not}}", '1:2: executing "format" at <not>: wrong number of args for not: want 1 got 0'],
  ["{{json}}", '1:2: executing "format" at <json>: wrong number of args for json: want 1 got 0'],
  [
    '{{join .Mixed ","}}',
    '1:7: executing "format" at <.Mixed>: wrong type for value; expected []string; got []interface {}',
  ],
  ["{{lower .Size}}", '1:8: executing "format" at <.Size>: wrong type for value; expected string; got int'],
  ["{{upper}}", '1:2: executing "format" at <upper>: wrong number of args for upper: want 1 got 0'],
  [
    "{{title .Names}}",
    '1:8: executing "format" at <.Names>: wrong type for value; expected string; got []string',
  ],
  [
    "{{pad .Tag .Ratio 1}}",
    '1:11: executing "format" at <.Ratio>: wrong type for value; expected int; got float64',
  ],
  [
    "{{truncate .Size 1}}",
    '1:11: executing "format" at <.Size>: wrong type for value; expected string; got int',
  ],
  ["{{ /* x */ }}", '1: unexpected "/" in command'],
  ["{{if .No}}{{else with .ID}}b{{end}}", "1: unexpected <with> in else"],
  ["{{constructor}}", '1: function "constructor" not defined'],
  ["{{toString}}", '1: function "toString" not defined'],
  ["line1\n{{foo}}", '2: function "foo" not defined'],
  [
    "l1\n\n  {{if .ID}}\n{{index .Names 7}}{{end}}",
    '4:2: executing "format" at <index .Names 7>: error calling index: index out of range: 7',
  ],
  ["{{.Names.0}}", '1: unexpected ".0" in operand'],
  ["{{else if}}", "1: unexpected {{else}}"],
  ["{{if true}}a{{else if}}b{{end}}", "1: missing value for if"],
  ["{{end end}}", "1: unexpected <end> in end"],
  ["{{if true}}{{end x}}", '1: unexpected "x" in end'],
  ["{{range}}{{end}}", "1: missing value for range"],
  ["{{with}}{{end}}", "1: missing value for with"],
  ["{{if true}}{{else x}}{{end}}", '1: unexpected "x" in else'],
  ["{{break 1}}", '1: unexpected "1" in {{break}}'],
  ["{{ID}}", '1: function "ID" not defined'],
  ["{{.ID-}}", "1: bad character U+002D '-'"],
  ["{{print 0xg}}", '1: bad number syntax: "0xg"'],
  ["{{print _1}}", '1: function "_1" not defined'],
];

function run(template: string, values: unknown = data): string {
  return parseTemplate(template).execute(values);
}

describe.each(Object.entries(outputs))("as Go: %s", (_, cases) => {
  it.each(cases)("%j", (template, output) => {
    expect(run(template)).toBe(output);
  });
});

describe("as Go: errors", () => {
  it.each(refusals)("%j", (template, message) => {
    expect(() => run(template)).toThrow(new UsageError(`template: format:${message}`));
  });
});

describe("what newer Go adds to 1.19", () => {
  it.each([
    ["{{range 3}}{{.}}{{end}}", "012"],
    ["{{range $i := 2}}{{$i}};{{end}}", "0;1;"],
    ["{{range 0}}x{{else}}none{{end}}", "none"],
    ["{{with .Nil}}a{{else with .ID}}{{.}}{{else}}c{{end}}", "sha256:0123456789ab"],
    ["{{range $i, $e = .Names}}{{end}}", null],
    ["{{$i := 0}}{{$e := 0}}{{range $i, $e = .Names}}{{end}}{{$i}}{{$e}}", "2cache"],
    ["{{range $i, $e := 3}}{{end}}", null],
  ])("%j", (template, output) => {
    if (output === null) expect(() => run(template)).toThrow(UsageError);
    else expect(run(template)).toBe(output);
  });
});

describe("rows", () => {
  it("name the fields there are when one is unknown", () => {
    expect(() => run("{{.Foo}}", { Size: 1, ID: "a" })).toThrow(
      new UsageError(
        'template: format:1:2: executing "format" at <.Foo>: can\'t evaluate field Foo in type row (it has ID, Size)',
      ),
    );
  });

  it.each(["constructor", "__proto__", "toString", "hasOwnProperty"])(
    "have no field %s of a prototype",
    (name) => {
      expect(() => run(`{{.${name}}}`)).toThrow(`can't evaluate field ${name}`);
      expect(() => run(`{{${name}}}`)).toThrow(`function "${name}" not defined`);
      expect(run(`{{.Labels.${name}}} {{index .Labels "${name}"}}`)).toBe("<no value> <no value>");
    },
  );

  it("may have methods, which are no fields of their JSON", () => {
    const row = { ID: "a", Label: (name: string) => `<${name}>` };
    expect(run('{{.Label "x.y"}} {{"z" | .Label}} {{json .}}', row)).toBe('<x.y> <z> {"ID":"a"}');
    expect(() => run("{{.Label}}", row)).toThrow("wrong number of args for Label: want 1 got 0");
    expect(() => run("{{.Label 1}}", row)).toThrow("expected string; got int");
  });

  it("are escaped as a whole in JSON, with sorted keys, but not by field", () => {
    expect(run("{{json .}} {{json .Tag}}", { Tag: "<none>", ID: "a&b", Size: undefined })).toBe(
      '{"ID":"a\\u0026b","Size":null,"Tag":"\\u003cnone\\u003e"} "<none>"',
    );
  });

  it("hold bigints as ints", () => {
    expect(run('{{.N}} {{eq .N 5}} {{lt .N 6}} {{printf "%x" .N}} {{json .N}}', { N: 5n })).toBe(
      "5 true true 5 5",
    );
  });
});

describe("renderRows", () => {
  const headers = { ID: "IMAGE ID", Repository: "REPOSITORY", Tag: "TAG", Size: "SIZE" };
  const rows = [
    { ID: "0123456789ab", Repository: "registry.example/team/app", Tag: "v1", Size: "5MB" },
    { ID: "ba9876543210", Repository: "<none>", Tag: "<none>", Size: "1.2GB" },
  ];

  it("prints a line a row, with \\t and \\n written as two characters", () => {
    expect(renderRows("{{.ID}}\\t{{.Tag}}\\n-", rows, headers)).toBe(
      "0123456789ab\tv1\n-\nba9876543210\t<none>\n-\n",
    );
    expect(renderRows("{{.ID}}", [], headers)).toBe("");
    expect(renderRows("  {{.Size}} ", rows, headers)).toBe("5MB\n1.2GB\n");
  });

  it("aligns a table under its titles", () => {
    expect(renderRows("table {{.Repository}}\\t{{.Tag}}\\t{{.ID}}\\t{{.Size}}", rows, headers)).toBe(
      [
        "REPOSITORY                  TAG       IMAGE ID       SIZE",
        "registry.example/team/app   v1        0123456789ab   5MB",
        "<none>                      <none>    ba9876543210   1.2GB",
        "",
      ].join("\n"),
    );
  });

  it("prints the titles of an empty table, and a default one for the word alone", () => {
    expect(renderRows("table {{.ID}}\\t{{.Tag}}", [], headers)).toBe("IMAGE ID   TAG\n");
    expect(renderRows("table", [], headers, "{{.Tag}}\t{{.ID}}")).toBe("TAG       IMAGE ID\n");
    expect(() => renderRows("table", rows, headers)).toThrow(UsageError);
  });

  it("prints JSON, a row a line", () => {
    expect(renderRows("json", rows, headers).split("\n")[1]).toBe(
      '{"ID":"ba9876543210","Repository":"\\u003cnone\\u003e","Size":"1.2GB","Tag":"\\u003cnone\\u003e"}',
    );
  });

  it("keeps the titles from docker's functions, but for pad", () => {
    const format = (template: string) => parseRowFormat(`table ${template}`, headers).header;
    expect(format("{{lower .ID}} {{json .Tag}} {{truncate .Repository 3}} {{title .Size}}")).toBe(
      "IMAGE ID TAG REPOSITORY SIZE",
    );
    expect(format('{{split .ID ":"}}|{{join .Tag ","}}|{{upper .Tag}}|{{pad .Tag 1 2}}|')).toBe(
      "IMAGE ID|TAG|TAG| TAG  |",
    );
    expect(format('{{if eq .Tag "x"}}a{{else}}{{.Tag}}{{end}} {{.Other}}')).toBe("TAG <no value>");
  });

  it("ends the titles where docker cannot make one, as it does", () => {
    expect(parseRowFormat("table {{.ID}} {{json .}} {{.Tag}}", headers).header).toBe("IMAGE ID ");
  });

  it("refuses unknown fields and functions", () => {
    expect(() => renderRows("{{.Nope}}", rows, headers)).toThrow("can't evaluate field Nope in type row");
    expect(() => renderRows("table {{nope}}", rows, headers)).toThrow(
      'format:1: function "nope" not defined',
    );
  });
});

describe("alignColumns", () => {
  /** Outputs of Go's text/tabwriter with docker's parameters. */
  it.each([
    ["a\tb\n", "a         b\n"],
    ["0123456789\tb\nx\ty\n", "0123456789   b\nx            y\n"],
    ["a\tb\tc\nlonger than that\td\n", "a                  b         c\nlonger than that   d\n"],
    ["longer than that\tb\nbreak\nx\ty\n", "longer than that   b\nbreak\nx         y\n"],
    ["a\t\tb\n\tc\t\n", "a                   b\n          c         \n"],
    ["long long long\vb\fx\ty\n", "long long long   b\nx         y\n"],
    ["é\tb\n", "é         b\n"],
  ])("%j", (text, aligned) => {
    expect(alignColumns(text)).toBe(aligned);
  });

  it("counts wide and combining characters as a terminal shows them", () => {
    expect(alignColumns("日本語のラベル\tb\nx\ty\n")).toBe("日本語のラベル   b\nx                y\n");
    expect(alignColumns("e\u0301\tb\n")).toBe("e\u0301         b\n");
  });
});

describe("bounds", () => {
  it.each([
    ["deep parentheses", `{{${"(".repeat(5000)}1${")".repeat(5000)}}}`],
    ["deep control structures", "{{if true}}".repeat(5000) + "{{end}}".repeat(5000)],
    ["a long loop", "{{range 1000000000000}}{{end}}"],
    ["nested loops", "{{range 9999}}".repeat(9) + "{{end}}".repeat(9)],
    ["a doubling string", '{{$x := "a"}}{{range 100}}{{$x = print $x $x}}{{end}}'],
    ["wide padding", '{{pad "a" 999999999 1}}'],
    ["wide elements", `{{printf "%999999d" (split "${"a".repeat(2000)}" "")}}`],
    ["much output", '{{range 100000}}{{printf "%999999d" 1}}{{end}}'],
    ["a long join", `{{join (split "${"a".repeat(9999)}" "") "${"b".repeat(9999)}"}}`],
  ])("%s", (_, template) => {
    expect(() => run(template)).toThrow(UsageError);
  });

  it("skips what a too wide verb asks for", () => {
    expect(run('{{printf "%99999999d" 1}}')).toBe("%!(NOVERB)%!(EXTRA int=1)");
  });

  it("takes long runs of spaces in linear time", () => {
    const spaces = " ".repeat(200_000);
    expect(renderRows(`${spaces}x${spaces}x{{- ""}}${spaces}`, [{}], {})).toHaveLength(200_003);
  });
});

describe("any template", () => {
  const pieces = fc.constantFrom(
    ..."{{|}}|{{- | -}}|(|)|.|.ID|.Names|.Labels|$|$x|:=|=|,| |1|-1|1.5|'a'|\"s\"|`r`|nil|true".split("|"),
    ..."if else end range with break continue printf print index slice len eq and or not json split".split(
      " ",
    ),
    ..."{{range .Names}}|{{if .ID}}|{{end}}|{{.ID}}|{{else}}|/*|*/|%d|\\|\n|é|text".split("|"),
    "|",
  );
  const template = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.array(pieces, { maxLength: 30 }).map((parts) => parts.join("")),
    fc.array(pieces, { maxLength: 15 }).map((parts) => `{{${parts.join(" ")}}}`),
  );

  it("gives text or a UsageError of one line", () => {
    fc.assert(
      fc.property(template, (text) => {
        try {
          expect(typeof renderRows(text, [data], { ID: "IMAGE ID" })).toBe("string");
        } catch (error) {
          expect(error).toBeInstanceOf(UsageError);
          expect((error as UsageError).message).not.toContain("\n");
        }
      }),
      { numRuns: 3000 },
    );
  });

  it("leaves text without actions as it is", () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        fc.pre(!text.includes("{{"));
        expect(run(text)).toBe(text);
      }),
    );
  });

  it("prints any string of a row as it is", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), (ID) => {
        expect(run("{{.ID}}{{print .ID}}{{printf `%s` .ID}}", { ID })).toBe(ID + ID + ID);
        expect(JSON.parse(run("{{json .ID}}", { ID }))).toBe(ID);
        expect(JSON.parse(run("{{json .}}", { ID }))).toEqual({ ID });
      }),
    );
  });
});
