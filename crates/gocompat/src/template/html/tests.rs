use std::collections::BTreeMap;
use std::sync::Arc;

use crate::template::{Arity, CallError, Format, Functions, Limits, Template, TemplateError, Trust, Trusted, Value};

/// No functions besides Go's own.
struct NoFunctions;

impl Functions for NoFunctions {
    fn arity(&self, _name: &str) -> Option<Arity> {
        None
    }

    fn call(&self, name: &str, _args: &[Value]) -> Result<Value, CallError> {
        Err(CallError::Failed(format!("no function {name}")))
    }
}

/// Values that are dangerous in some places, and some for which their author vouches.
fn data() -> Value {
    let trusted = |trust, text| Value::Object(Arc::new(Trusted::new(trust, text)));
    let values = [
        ("T", Value::text("<b>\"O'Neil & +co\"</b>")),
        ("U", Value::text("https://x.io/a b?c=d&e='f'")),
        ("J", Value::text("javascript:alert(1)")),
        ("P", Value::text("/a/ü?x=1")),
        ("H", trusted(Trust::Html, "<i>&amp;</i>")),
        ("N", Value::Nil),
        ("L", trusted(Trust::Url, "javascript:ok()")),
        ("I", Value::Int(5)),
        ("E", Value::text("")),
    ];
    let entries: BTreeMap<_, _> = values.into_iter().map(|(name, value)| (name.to_string(), value)).collect();
    Value::Map(Arc::new(entries))
}

fn run(text: &str) -> Result<String, TemplateError> {
    let template = Template::parse("t", text.to_string(), &|_| false)?;
    template.execute_as(Format::Html, &data(), &NoFunctions, Limits::default())
}

/// A template and what Go's `html/template` makes of it.
struct Escaped {
    template: &'static str,
    expected: &'static str,
}

const fn escaped(template: &'static str, expected: &'static str) -> Escaped {
    Escaped { template, expected }
}

const ESCAPED: &[Escaped] = &[
    escaped("a < b {{.T}}", "a &lt; b &lt;b&gt;&#34;O&#39;Neil &amp; &#43;co&#34;&lt;/b&gt;"),
    escaped(r#"<p title="{{.T}}">"#, r#"<p title="&lt;b&gt;&#34;O&#39;Neil &amp; &#43;co&#34;&lt;/b&gt;">"#),
    escaped("<p title='{{.T}}'>", "<p title='&lt;b&gt;&#34;O&#39;Neil &amp; &#43;co&#34;&lt;/b&gt;'>"),
    escaped("<p title={{.T}}>", "<p title=&lt;b&gt;&#34;O&#39;Neil&#32;&amp;&#32;&#43;co&#34;&lt;/b&gt;>"),
    escaped("<p class={{.E}}>", "<p class=ZgotmplZ>"),
    escaped(r#"<a href="{{.U}}">"#, r#"<a href="https://x.io/a%20b?c=d&amp;e=%27f%27">"#),
    escaped("<a href='{{.J}}'>", "<a href='#ZgotmplZ'>"),
    escaped(r#"<a href="{{.L}}">"#, r#"<a href="javascript:ok%28%29">"#),
    escaped(r#"<a href="/x?q={{.U}}">"#, r#"<a href="/x?q=https%3a%2f%2fx.io%2fa%20b%3fc%3dd%26e%3d%27f%27">"#),
    escaped(r#"<a href="{{.P}}/y">"#, r#"<a href="/a/%c3%bc?x=1/y">"#),
    escaped(r#"<a href="https://h/{{.P}}">"#, r#"<a href="https://h//a/%c3%bc?x=1">"#),
    escaped(
        r#"<a href="/x?q={{.T | urlquery}}">"#,
        r#"<a href="/x?q=%3Cb%3E%22O%27Neil&#43;%26&#43;%2Bco%22%3C%2Fb%3E">"#,
    ),
    escaped("{{.T | html}}", "&lt;b&gt;&#34;O&#39;Neil &amp; +co&#34;&lt;/b&gt;"),
    escaped("{{.T | urlquery}}", "%3Cb%3E%22O%27Neil&#43;%26&#43;%2Bco%22%3C%2Fb%3E"),
    escaped("{{.H}}", "<i>&amp;</i>"),
    escaped(r#"<p title="{{.H}}">"#, r#"<p title="&amp;">"#),
    escaped(
        "<title>{{.T}}{{.H}}</title>",
        "<title>&lt;b&gt;&#34;O&#39;Neil &amp; &#43;co&#34;&lt;/b&gt;&lt;i&gt;&amp;&lt;/i&gt;</title>",
    ),
    escaped("<!-- c {{.T}} -->x", "x"),
    escaped("<!DOCTYPE html><b>{{.N}}|{{.I}}</b>", "<!DOCTYPE html><b>|5</b>"),
    escaped(
        "<script>var a = {{.T}}; var b = '{{.T}}'; // c\nvar c = {{.I}}</script>",
        "<script>var a = \"\\u003cb\\u003e\\\"O'Neil \\u0026 +co\\\"\\u003c/b\\u003e\"; var b = '\\u003cb\\u003e\\u0022O\\u0027Neil \\u0026 \\u002bco\\u0022\\u003c\\/b\\u003e'; \nvar c =  5 </script>",
    ),
    escaped(
        r#"<p onclick="f({{.T}})">"#,
        r#"<p onclick="f(&#34;\u003cb\u003e\&#34;O&#39;Neil \u0026 &#43;co\&#34;\u003c/b\u003e&#34;)">"#,
    ),
    escaped(r#"<p style="color: {{.T}}">"#, r#"<p style="color: ZgotmplZ">"#),
    escaped(r#"<p style="color: {{.I}}px">"#, r#"<p style="color: 5px">"#),
    escaped(
        r#"<style>p { color: {{.I}}; } /* x */ a[b="{{.T}}"] {}</style>"#,
        r#"<style>p { color: 5; }   a[b="\3c b\3e\22O\27Neil \26  \2b co\22\3c\2f b\3e "] {}</style>"#,
    ),
    escaped(r#"<a data-url="{{.J}}">"#, r##"<a data-url="#ZgotmplZ">"##),
    escaped("<img src={{.U}}>", "<img src=https://x.io/a%20b?c&#61;d&amp;e&#61;%27f%27>"),
    escaped("<p {{.T}}=1>", "<p ZgotmplZ=1>"),
    escaped(
        "<textarea>{{.T}}</textarea><b>",
        "<textarea>&lt;b&gt;&#34;O&#39;Neil &amp; &#43;co&#34;&lt;/b&gt;</textarea><b>",
    ),
    escaped("1 < 2 <3 <- {{.I}}", "1 &lt; 2 &lt;3 &lt;- 5"),
    escaped("<a href={{.U}} x>", "<a href=https://x.io/a%20b?c&#61;d&amp;e&#61;%27f%27 x>"),
    escaped(
        r#"<script>f("{{.T}}", `{{.I}}`)</script>"#,
        r#"<script>f("\u003cb\u003e\u0022O\u0027Neil \u0026 \u002bco\u0022\u003c\/b\u003e", `5`)</script>"#,
    ),
    escaped(r#"<a href="mailto:{{.U}}">"#, r#"<a href="mailto:https://x.io/a%20b?c=d&amp;e=%27f%27">"#),
];

#[test]
fn values_are_escaped_as_in_go() {
    for Escaped { template, expected } in ESCAPED {
        assert_eq!(run(template).as_deref(), Ok(*expected), "{template}");
    }
}

#[test]
fn a_page_that_ends_within_a_tag_is_refused() {
    for unfinished in ["<a href=\"{{ .U }}", "<p title=", "<script>1", "<!-- open"] {
        let error = run(unfinished).unwrap_err().to_string();
        assert!(error.ends_with("ends in a non-text context"), "{error}");
    }
}

#[test]
fn hostile_pages_end() {
    let pieces =
        ["<", ">", "</", "<a ", "=", "\"", "'", "`", "/*", "<!--", "-->", "<script>", "<style>", "{{ .T }}", "é", "//"];
    for first in pieces {
        for second in pieces {
            for third in pieces {
                let _ = run(&format!("{first}{second}{third}{second}{first}"));
            }
        }
    }
}
