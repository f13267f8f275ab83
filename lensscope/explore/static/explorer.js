var O, Wn, Bn, ge, At, lt, Fn, st, Kn, Gt, Nt, zn, Ye = Symbol.for("pv"), at = {}, ct = [], tr = /^m(i|n|o|s|text|space)$/, Vt = Array.isArray, Jt = ct.slice, Ee = Object.assign;
function Me(t) {
  t && t.parentNode && t.remove();
}
function nr(t, e, n) {
  var r, i, o, l = {}, a = arguments.length;
  for (o in e) o == "key" ? r = e[o] : o == "ref" && typeof t != "function" ? i = e[o] : l[o] = e[o];
  return a > 2 && (l.children = a > 3 ? Jt.call(arguments, 2) : n), We(t, l, r, i, null);
}
function We(t, e, n, r, i) {
  var o = { type: t, props: e, key: n, ref: r, __k: null, __: null, __b: 0, __e: null, __c: null, constructor: Ye, __v: i || ++Wn, __i: -1, __u: 0 };
  return !i && O.vnode && O.vnode(o), o;
}
function U(t) {
  return t.children;
}
function Le(t, e) {
  this.props = t, this.context = e, this.__g = 0;
}
function xe(t, e) {
  if (e == null) return t.__ && xe(t.__, t.__i + 1);
  for (var n; e < t.__k.length; e++) if ((n = t.__k[e]) && n.__e) return n.__e;
  return typeof t.type != "function" || t.props.__P ? null : xe(t);
}
function sr(t) {
  var e, n = t.__v, r = n.__e, i = [], o = [], l = t.__P;
  l && ((e = Ee({ constructor: Ye }, n)).__v = n.__v + 1, O.vnode && O.vnode(e), Xt(l, e, n, t.__n, l.namespaceURI, 32 & n.__u ? [r] : null, i, r || xe(n), 32 & n.__u, o), e.__v = n.__v, e.__.__k[e.__i] = e, Qn(i, e, o), n.__ = n.__e = null, e.__e != r && Gn(e));
}
function Gn(t) {
  if ((t = t.__) && t.__c && !t.props.__P) return t.__e = null, t.__k.some(function(e) {
    return e && (t.__e = e.__e);
  }), Gn(t);
}
function Ot(t) {
  (8 & t.__g || (t.__g |= 8, ge.push(t), lt++)) && At == O.debounceRendering || ((At = O.debounceRendering) || queueMicrotask)(Vn);
}
function Vn() {
  try {
    for (var t, e = 1; ge.length; ) ge.length > e && ge.sort(Fn), t = ge.shift(), e = ge.length, 8 & t.__g && sr(t);
  } finally {
    (lt = ge.length) && (At || queueMicrotask)(Vn);
  }
}
function Jn(t, e, n, r, i, o, l, a, u, d, c) {
  var p, f, h, m, b, x, T = r.__k || ct, g = e.length;
  for (u = rr(n, e, T, u, g), p = 0; p < g; p++) (h = n.__k[p]) != null && (f = ~h.__i && T[h.__i] || at, h.__i = p, x = Xt(t, h, f, i, o, l, a, u, d, c), m = h.__e, (f.ref != h.ref || 8 & f.__u) && (f.ref && Yt(f.ref, null, h, f), h.ref && c.push(h.ref, h.__c || m, h)), b = b || m, 4 & h.__u ? (u = Xn(h, u, t, !f.__v), f.__e && (f.__e = null)) : typeof h.type == "function" && x !== void 0 ? u = x : m && (u = m.nextSibling), h.__u &= -21);
  return n.__e = b, u;
}
function rr(t, e, n, r, i) {
  var o, l, a, u, d, c, p, f, h, m = n.length, b = m, x = 0, T = 0, g = t.__k = Array(i);
  for (o = 0; o < i; o++) (l = e[o]) != null && typeof l != "boolean" && typeof l != "function" ? (typeof l != "object" || l.constructor === String ? l = g[o] = We(null, l) : Vt(l) ? l = g[o] = We(U, { children: l }) : l.constructor === Ye && l.__b ? l = g[o] = We(l.type, l.props, l.key, l.ref, l.__v) : g[o] = l, u = o + x, l.__ = t, l.__b = t.__b + 1, a = null, ~(d = l.__i = or(l, n, u, b)) && (b--, (a = n[d]) && (a.__u |= 2)), a && a.__v ? (l.__u |= 16, d == u - 1 ? x-- : d == u + 1 ? x++ : d != u && (d > u ? x-- : x++, T = 1)) : (~d || (i > m ? x-- : i < m && x++), typeof l.type != "function" && (l.__u |= 4))) : g[o] = null;
  if (T) {
    for (c = [], p = [], o = 0; o < i; o++) if ((l = g[o]) && 16 & l.__u) {
      for (x = 0, f = c.length; x < f; ) c[h = x + f >> 1] < l.__i ? x = h + 1 : f = h;
      c[x] = l.__i, p[o] = x + 1;
    }
    for (x = c.length; o--; ) p[o] && (p[o] == x ? x-- : g[o].__u |= 4);
  }
  if (b) for (o = 0; o < m; o++) !(a = n[o]) || 2 & a.__u || (a.__e == r && (r = xe(a)), Qt(a, a));
  return r;
}
function Xn(t, e, n, r) {
  var i, o, l, a;
  if (typeof t.type == "function") {
    if (t.props.__P) return e;
    if (i = t.__k) for (o = 0; o < i.length; o++) i[o] && (i[o].__ = t, e = Xn(i[o], e, n, !1));
    return e;
  }
  for (e && !e.parentNode && (e = xe(t)) && !e.parentNode && (e = null), l = t.__e, a = e; a && a.nodeType == 8; ) a = a.nextSibling;
  for (l != a && (!r && n.moveBefore && l.parentNode ? n.moveBefore(l, e) : n.insertBefore(l, e || null)), e = l; (e = e && e.nextSibling) && e.nodeType == 8 && !e.data.startsWith("$s"); ) ;
  return e;
}
function or(t, e, n, r) {
  var i, o = t.key, l = t.type, a = e[n], u = a && !(2 & a.__u);
  if (a === null && o == null || u && o == a.key && l == a.type) return n;
  if (r > (u ? 1 : 0)) {
    for (i = n - 1; i >= 0; i--) if ((a = e[i]) && !(2 & a.__u) && o == a.key && l == a.type) return i;
    for (i = n + 1; i < e.length; i++) if ((a = e[i]) && !(2 & a.__u) && o == a.key && l == a.type) return i;
  }
  return -1;
}
function dn(t, e, n) {
  n == null && (n = ""), e[0] == "-" ? t.setProperty(e, n) : t[e] = n;
}
function Qe(t, e, n, r, i) {
  var o, l;
  if (e == "style") if (typeof n == "string") t.style.cssText = n;
  else {
    if (typeof r == "string" && (t.style.cssText = r = ""), r) for (e in r) n && e in n || dn(t.style, e);
    if (n) for (e in n) r && n[e] == r[e] || dn(t.style, e, n[e]);
  }
  else if (e[0] == "o" && e[1] == "n") typeof n != "function" && (n = null), typeof r != "function" && (r = null), (t.__e || (t.__e = {}))[e] = n, n && r || (l = Nt[e] || (Nt[e] = ir(e)), (t.__a || (t.__a = {}))[e] = Gt, o = e != (e = e.replace(Kn, "$1")), (e = e.slice(2))[0] < "a" && (e = e.toLowerCase()), n ? t.addEventListener(e, l, o) : t.removeEventListener(e, l, o));
  else {
    if (i == "http://www.w3.org/2000/svg") e = e.replace(/xlink(H|:h)/, "h").replace(/sName$/, "s");
    else if (e != "width" && e != "height" && e != "href" && e != "list" && e != "form" && e != "tabIndex" && e != "download" && e != "rowSpan" && e != "colSpan" && e != "role" && e != "popover" && e in t) try {
      return void (t[e] = n ?? "");
    } catch {
    }
    if (typeof n == "function") return;
    n == null || n === !1 && e[4] != "-" ? t.removeAttribute(e) : t.setAttribute(e, e == "popover" && n == 1 ? "" : n);
  }
}
function ir(t) {
  return function(e) {
    var n = this.__e;
    if (n) {
      if (n = n[t], e[st] == null) e[st] = Gt++;
      else if (e[st] < this.__a[t]) return;
      return n(O.event ? O.event(e) : e);
    }
  };
}
function Xt(t, e, n, r, i, o, l, a, u, d) {
  var c, p, f, h, m, b, x, T, g, C, v, w, L, S, k, E, y, P, N = e.type;
  if (e.constructor !== Ye) return null;
  128 & n.__u && (u = 32 & n.__u, c = n.__c.__z) && (e.__u |= u, p = o = [], c.nodeType == 8 ? a = rt(c, o) : o.push(c), a = o[0] || a), (c = O.__b) && c(e);
  e: if (typeof N == "function") {
    f = l.length;
    try {
      if (T = e.props, g = (c = N.prototype) && c.render, C = (c = N.contextType) && r[c.__c], v = c ? C ? C.props.value : c.__ : r, (h = n.__c) ? (e.__c = h, 2 & h.__g && (h.__g |= 1)) : (g ? e.__c = h = new N(T, v) : (e.__c = h = new Le(T, v), h.constructor = N, h.render = ar), C && C.sub(h), h.state || (h.state = {}), h.__n = r, h.__g |= 8, h.__h = [], h.__k = []), g && (h.__s || (h.__s = h.state), N.getDerivedStateFromProps && (h.__s == h.state && (h.__s = Ee({}, h.__s)), Ee(h.__s, N.getDerivedStateFromProps(T, h.__s)))), m = h.props, b = h.state, h.__v = e, n.__c) {
        if (T !== m && g && !N.getDerivedStateFromProps && h.componentWillReceiveProps && h.componentWillReceiveProps(T, v), e.__v == n.__v && !(8 & h.__g) || !(4 & h.__g) && h.shouldComponentUpdate && h.shouldComponentUpdate(T, h.__s, v) === !1) {
          e.__v != n.__v && (h.props = T, h.state = h.__s, h.__g &= -9), e.__e = n.__e, e.__k = n.__k, e.__k.some(function(_) {
            _ && (_.__ = e);
          }), ct.push.apply(h.__h, h.__k), h.__k = [], h.__h.length && l.push(h), a = xe(n);
          break e;
        }
        h.componentWillUpdate && h.componentWillUpdate(T, h.__s, v), g && h.componentDidUpdate && h.__h.push(function() {
          h.componentDidUpdate(m, b, x);
        });
      } else g && !N.getDerivedStateFromProps && h.componentWillMount && h.componentWillMount(), g && h.componentDidMount && h.__h.push(h.componentDidMount);
      h.context = v, h.props = T, h.__P = t, h.__g &= -5, w = O.__r, L = g ? 25 : 0;
      do
        h.__g &= -9, w && w(e), c = h.render(h.props, h.state = h.__s, h.context);
      while (8 & h.__g && ++L < 25);
      g && (ct.push.apply(h.__h, h.__k), h.__k = []), h.state = h.__s, h.getChildContext && (r = Ee({}, r, h.getChildContext())), g && n.__c && h.getSnapshotBeforeUpdate && (x = h.getSnapshotBeforeUpdate(m, b)), S = c && c.type === U && c.key == null ? c.props.children : c, T.__P && (c = a, i = (t = T.__P).namespaceURI, u = o = null, n.props && n.props.__P != t && (n.__k.some(function(_) {
        _ && Qt(_, _);
      }), n.__k = null), a = n.__k ? xe(n, 0) : null), a = Jn(t, Vt(S) ? S : [S], e, n, r, i, o, l, a, u, d), T.__P && (e.__e = null, a = c), e.__u &= -161, p && p.some(Me), h.__h.length && l.push(h), 1 & h.__g && (h.__g &= -4);
    } catch (_) {
      if (l.length = f, e.__v = null, u || o) if (_ && _.then) {
        if (e.__u |= 128 | u, o) {
          for (~(y = o.indexOf(a || void 0)) || (y = o.length); (P = o[y - 1]) && P.nodeType == 8; ) y--;
          for (; y < o.length; y++) if (P = o[y]) if (o[y] = null, k) {
            if (P == E) break;
          } else {
            if (P.nodeType != 8) break;
            P.data.startsWith("$s") && (E = rt(k = P));
          }
        }
        if (!k) {
          for (; a && a.nodeType == 8 && a.nextSibling; ) a = a.nextSibling;
          k = a;
        }
        (c = rt(k = e.__c.__z || (e.__c.__z = k))) ? (e.__e = k, a = c) : e.__e = a, a = a && a.nextSibling;
      } else o && o.some(Me);
      else e.__e = n.__e;
      e.__k || (e.__k = n.__k || []), _ && _.then || Yn(e), O.__e(_, e, n);
    }
  } else a = e.__e = lr(n.__e, e, n, r, i, o, l, u, d, t);
  return (c = O.diffed) && c(e), a;
}
function rt(t, e) {
  if (t && t.nodeType == 8 && t.data.startsWith("$s")) for (var n = 1; t = t.nextSibling; ) {
    if (t.nodeType == 8) {
      if (t.data.startsWith("$s")) n++;
      else if (t.data.startsWith("/$s") && !--n) return t;
    }
    e && e.push(t);
  }
}
function Yn(t) {
  t && (t.__c && (t.__c.__g |= 4), t.__k && t.__k.some(Yn));
}
function Qn(t, e, n) {
  for (var r = 0; r < n.length; ) Yt(n[r++], n[r++], n[r++]);
  O.__c && O.__c(e, t), t.some(function(i) {
    try {
      t = i.__h, i.__h = [], t.some(function(o) {
        o.call(i);
      });
    } catch (o) {
      O.__e(o, i.__v);
    }
  });
}
function lr(t, e, n, r, i, o, l, a, u, d) {
  var c, p, f, h, m, b, x, T, g = n.props || at, C = e.props, v = e.type;
  if (v == "svg" ? i = "http://www.w3.org/2000/svg" : v == "math" ? i = "http://www.w3.org/1998/Math/MathML" : i || (i = "http://www.w3.org/1999/xhtml"), o) {
    for (c = 0; c < o.length; c++) if ((m = o[c]) && (v ? m.localName == v : m.nodeType == 3)) {
      t = m, o[c] = null;
      break;
    }
  }
  if (!t) {
    if (T = d.ownerDocument || document, !v) return T.createTextNode(C);
    t = T.createElementNS(i, v, C.is ? C : d), a && (O.__m && O.__m(e, o), a = !1), o = null;
  }
  if (v) {
    if (d = v == "template" && t.content || t, o = v == "textarea" && C.defaultValue != null ? null : o && Jt.call(d.childNodes), !a && o) for (g = {}, c = 0; c < t.attributes.length; c++) g[(m = t.attributes[c]).name] = m.value;
    for (c in g) m = g[c], c == "dangerouslySetInnerHTML" ? f = m : c == "children" || c in C || c == "value" && "defaultValue" in C || c == "checked" && "defaultChecked" in C || Qe(t, c, null, m, i);
    for (c in C) m = C[c], c == "children" ? h = m : c == "dangerouslySetInnerHTML" ? p = m : c == "value" ? b = m : c == "checked" ? x = m : a && typeof m != "function" || g[c] === m || Qe(t, c, m, g[c], i);
    p ? (a || f && (p.__html == f.__html || p.__html == t.innerHTML) || (t.innerHTML = p.__html), e.__k = []) : (f && (t.textContent = ""), (v == "foreignObject" || i == "http://www.w3.org/1998/Math/MathML" && tr.test(v)) && (i = "http://www.w3.org/1999/xhtml"), Jn(d, Vt(h) ? h : [h], e, n, r, i, o, l, o ? o[0] : n.__k && xe(n, 0), a, u), o && o.some(Me)), a && v != "textarea" || (c = "value", v == "progress" && b == null ? t.removeAttribute(c) : b == null || b === t[c] && (v != "progress" || b) || Qe(t, c, b, g[c], i), c = "checked", x != null && x != t[c] && Qe(t, c, x, g[c], i));
  } else g === C || a && t.data == C || (t.data = C);
  return t;
}
function Yt(t, e, n, r) {
  try {
    typeof t == "function" ? e ? e.__x = t(e) || 1 : r && (r = r.__c || r.__e) && (e = r.__x) && (r.__x = null, typeof e == "function" ? e() : t(null)) : t.current = e;
  } catch (i) {
    O.__e(i, n);
  }
}
function Qt(t, e, n) {
  var r, i, o, l;
  if (O.unmount && O.unmount(t), !(r = t.ref) || r.current && r.current != t.__e || Yt(r, null, e, t), r = t.__c) {
    if (r.componentWillUnmount) try {
      r.componentWillUnmount();
    } catch (a) {
      O.__e(a, e);
    }
    r.__P = r.__n = null;
  }
  if (r = t.__k) for (l = 0; l < r.length; l++) r[l] && Qt(r[l], e, typeof t.type != "function" || n && !t.props.__P);
  !n && (r = t.__c) && (r = r.__z) && (i = rt(r, o = [])) && (r == t.__e && o.some(Me), Me(i), Me(r)), n || Me(t.__e), t.__e = t.__c = t.__ = null;
}
function ar(t, e, n) {
  return this.constructor(t, n);
}
function ut(t, e) {
  var n, r, i, o;
  O.__ && O.__(t, e), e.nodeType == 9 && (e = e.documentElement), r = (n = t && 32 & t.__u) ? null : e.__k, e.__k = We(U, { children: [t] }), i = [], o = [], Xt(e, e.__k, r || at, at, e.namespaceURI, r ? null : e.firstChild ? Jt.call(e.childNodes) : null, i, r ? r.__e : e.firstChild, n, o), Qn(i, e.__k, o), e.__k.props.children = null;
}
function cr(t) {
  function e(n) {
    var r, i;
    return this.getChildContext || (r = /* @__PURE__ */ new Set(), (i = {})[e.__c] = this, this.getChildContext = function() {
      return i;
    }, this.shouldComponentUpdate = function(o) {
      this.props.value != o.value && r.forEach(function(l) {
        l.__g |= 4, Ot(l);
      });
    }, this.sub = function(o) {
      r.add(o);
      var l = o.componentWillUnmount;
      o.componentWillUnmount = function() {
        r.delete(o), l && l.call(o);
      };
    }), n.children;
  }
  return e.__c = "__cC" + zn++, e.__ = t, e.Provider = (e.Consumer = function(n, r) {
    return n.children(r);
  }).contextType = e, e;
}
O = { __e: function(t, e, n, r) {
  for (var i, o, l; e = e.__; ) if ((i = e.__c) && !(1 & i.__g)) {
    i.__g |= 4;
    try {
      if ((l = (o = i.constructor) && o.getDerivedStateFromError) && i.setState(o.getDerivedStateFromError(t)), i.componentDidCatch && (i.componentDidCatch(t, r || {}), l = 1), l && 8 & i.__g) return void (i.__g |= 2);
    } catch (a) {
      t = a;
    }
  }
  throw lt = 0, t;
} }, Wn = 0, Bn = function(t) {
  return t != null && t.constructor === Ye;
}, Le.prototype.setState = function(t, e) {
  var n = this.__s;
  n && n != this.state || (n = this.__s = Ee({}, this.state)), typeof t == "function" && (t = t(Ee({}, n), this.props)), t && (Ee(n, t), this.__v && (e && this.__k.push(e), Ot(this)));
}, Le.prototype.forceUpdate = function(t) {
  this.__v && (this.__g |= 4, t && this.__h.push(t), Ot(this));
}, Le.prototype.render = U, ge = [], lt = 0, Fn = function(t, e) {
  return t.__v.__b - e.__v.__b;
}, st = Symbol(), Kn = /(PointerCapture)$|Capture$/i, Gt = 0, Nt = {}, zn = 0;
var ur = Symbol.for("pv"), dr = 0;
function s(t, e, n, r, i, o) {
  e || (e = {});
  var l, a, u = e;
  if ("ref" in u && typeof t != "function") for (a in u = {}, e) a == "ref" ? l = e[a] : u[a] = e[a];
  var d = { type: t, props: u, key: n, ref: l, __k: null, __: null, __b: 0, __e: null, __c: null, constructor: ur, __v: --dr, __i: -1, __u: 0 };
  return O.vnode && O.vnode(d), d;
}
class Zn extends Error {
}
function ce(t, e) {
  throw new Zn(`${t || "the whole"} is not ${e}`);
}
const M = (t = 2e5) => (e, n) => typeof e == "string" && e.length <= t ? e : ce(n, "a text"), we = (t = -1 / 0, e = 1 / 0) => (n, r) => typeof n == "number" && !Number.isNaN(n) && n >= t && n <= e ? n : ce(r, `a number from ${t} to ${e}`), X = (t = 0, e = 1e6) => (n, r) => Number.isInteger(n) ? we(t, e)(n, r) : ce(r, "a whole number"), de = (t, e) => t === null ? NaN : we()(t, e), ye = (t, e) => typeof t == "boolean" ? t : ce(e, "true or false"), B = (...t) => (e, n) => t.includes(e) ? e : ce(n, t.join(" or ")), oe = (t) => (e, n) => e === null ? null : t(e, n), qn = (t, e) => (n, r) => {
  try {
    return t(n, r);
  } catch {
    return e(n, r);
  }
}, R = (t, e = 1e5) => (n, r) => Array.isArray(n) && n.length <= e ? n.map((i, o) => t(i, `${r}[${o}]`)) : ce(r, "a list"), Zt = (t) => (e, n) => {
  const r = R(t, 2)(e, n);
  return r.length === 2 ? r : ce(n, "two");
};
function qt(t) {
  return typeof t == "object" && t !== null && !Array.isArray(t);
}
const A = (t) => (e, n) => qt(e) ? Object.fromEntries(
  Object.entries(t).map(([r, i]) => [r, i(e[r], n ? `${n}.${r}` : r)])
) : ce(n, "an object"), le = (t) => (e, n) => qt(e) ? Object.fromEntries(
  Object.entries(t).filter(([r]) => e[r] !== void 0).map(([r, i]) => [r, i(e[r], n ? `${n}.${r}` : r)])
) : ce(n, "an object"), hr = (t, e) => (n, r) => ({ ...t(n, r), ...e(n, r) }), pr = (t) => (e, n) => qt(e) ? Object.fromEntries(Object.entries(e).map(([r, i]) => [r, t(i, `${n}.${r}`)])) : ce(n, "an object");
function be(t) {
  return se(t);
}
function se(t) {
  return Array.isArray(t) ? `[${t.map(se).join(",")}]` : t && typeof t == "object" ? `{${Object.entries(t).filter(([, e]) => e !== void 0).sort(([e], [n]) => e < n ? -1 : 1).map(([e, n]) => `${JSON.stringify(e)}:${se(n)}`).join(",")}}` : JSON.stringify(t ?? null);
}
const es = "lensscope explorer", en = ["state", "nothing", "random", "mean", "shuffled"], q = X(0, 1e4), ve = X(0, 1e6), Y = qn(M(), R(A({ role: M(100), content: M() }), 1e3)), fr = A({ position: ve, layer: q }), ts = B(0, 1), ns = B("resid_pre", "attn_out", "mlp_out"), hn = A({ prompt: ts, position: ve, layer: q }), dt = A({
  preset: M(200),
  text: Y,
  placeholder: M(200),
  target: qn(B("same"), q),
  max_new_tokens: X(1, 1e3),
  temperature: we(0, 100),
  top_p: oe(we(0, 1)),
  seed: X(-Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER)
}), ss = A({
  from: oe(hn),
  to: hn,
  how: B("set", "add", "project_out", "scale"),
  amount: we(-1e6, 1e6)
}), rs = {
  version: B(1),
  view: B("grid", "patch", "matters", "step"),
  prompt: Y,
  lens: M(200),
  colour: B("probability", "entropy", "kl"),
  cell: oe(fr),
  inspection: dt,
  reader: M(200),
  step: X(),
  prompts: Zt(Y),
  patches: R(ss, 1e3),
  new_tokens: X(0, 1e3),
  clean: Y,
  corrupted: Y,
  answer: M(1e3),
  wrong: M(1e3),
  site: ns,
  threshold: we(0, 1),
  circuit: ye,
  quiz: oe(A({ layers: R(q, 1e4), shown: R(q, 1e4) })),
  presenter: ye,
  theme: B("auto", "light", "dark")
}, os = A(rs), mr = le(rs), is = A({
  format: B(es),
  version: B(1),
  libraries: pr(M(200)),
  live: ye,
  model: A({
    name: M(1e3),
    fingerprint: M(1e3),
    processing: M(1e4),
    dtype: M(100),
    n_layers: X(1, 1e4),
    d_model: X(1),
    n_ctx: oe(X(1, 1e9)),
    chat: ye
  }),
  lenses: R(A({ id: M(200), name: M(200), about: M() }), 100),
  readers: R(A({ id: M(200), name: M(200), about: M(), trained: ye }), 100),
  presets: R(A({ id: M(200), name: M(200), inspection: dt }), 1e3),
  state: os,
  limits: A({ prompt: X(), max_new_tokens: X(), patches: X() })
}), _r = {
  tokens: A({ kind: B("tokens"), prompt: Y, placeholder: oe(M(200)) }),
  grid: A({ kind: B("grid"), prompt: Y, lens: M(200) }),
  cell: A({ kind: B("cell"), prompt: Y, position: ve, layer: q }),
  words: A({ kind: B("words"), prompt: Y, inspection: dt, position: ve, layer: q }),
  step: A({ kind: B("step"), prompt: Y, inspection: dt, reader: M(200), position: ve, layer: q }),
  patch: A({ kind: B("patch"), prompts: Zt(Y), patches: R(ss, 1e3), max_new_tokens: X(0, 1e3) }),
  matters: A({
    kind: B("matters"),
    clean: Y,
    corrupted: Y,
    answer: M(1e3),
    wrong: M(1e3),
    site: ns
  }),
  circuit: A({
    kind: B("circuit"),
    clean: Y,
    corrupted: Y,
    answer: M(1e3),
    wrong: M(1e3),
    threshold: we(0, 1)
  })
}, gr = B("tokens", "grid", "cell", "words", "step", "patch", "matters", "circuit"), ue = R(
  hr(
    A({ text: M() }),
    le({ message: oe(X(-1)), role: oe(M(100)), special: ye })
  )
), ot = R(A({ text: M(), probability: de }), 1e3), He = R(de), Tt = R(q, 1e4), _e = { python: M(), notes: R(M(), 1e3) }, pn = A({ text: M(), top: ot }), yr = {
  tokens: le({ ..._e, tokens: ue, placeholders: R(ve) }),
  grid: le({
    ..._e,
    tokens: ue,
    layers: Tt,
    rows: R(A({ layer: q, texts: R(M()), probability: He, entropy: He, kl: He }))
  }),
  cell: le({
    ..._e,
    tokens: ue,
    model: ot,
    lenses: R(A({ lens: M(200), top: ot, entropy: de, kl: de }))
  }),
  words: le({
    ..._e,
    shuffled_text: M(),
    mean_of: X(),
    said: R(A({ reader: M(200), condition: B(...en), text: M(), done: ye }))
  }),
  step: le({
    ..._e,
    tokens: ue,
    inspection: ue,
    placeholders: R(ve),
    read: M(),
    written: M(),
    nothing: M(),
    steps: R(A({ token: M(), probability: de, alternatives: ot })),
    layers: R(A({ layer: q, text: M(), echo: ye }))
  }),
  patch: le({
    ..._e,
    tokens: Zt(ue),
    results: R(A({ prompt: ts, before: pn, after: oe(pn), kl: oe(we()) }))
  }),
  matters: le({
    ..._e,
    clean: ue,
    corrupted: ue,
    answer: M(),
    wrong: M(),
    layers: Tt,
    baselines: A({ clean: de, corrupted: de }),
    estimate: R(He),
    exact: R(A({ layer: q, effects: He }))
  }),
  circuit: le({
    ..._e,
    clean: ue,
    answer: M(),
    wrong: M(),
    layers: Tt,
    faithfulness: de,
    nodes: R(
      A({ name: M(), site: M(), layer: q, head: oe(X()), position: ve, effect: de })
    )
  })
}, br = (t, e) => {
  const n = A({ kind: gr })(t, e);
  return _r[n.kind](t, e);
}, vr = (t, e) => {
  const n = A({ question: br, parts: R((i) => i, 1e4) })(t, e), r = yr[n.question.kind];
  return { question: n.question, parts: n.parts.map((i, o) => r(i, `${e}.parts[${o}]`)) };
}, ls = (t) => is(t, "about");
function as(t) {
  const e = A({ format: B(es), version: B(1), about: is, state: os, answers: R((i) => i, 2e4) })(t, ""), n = /* @__PURE__ */ new Map();
  let r = 0;
  return e.answers.forEach((i, o) => {
    try {
      const l = vr(i, `answers[${o}]`);
      n.set(be(l.question), l);
    } catch (l) {
      if (!(l instanceof Zn)) throw l;
      r += 1;
    }
  }), { recorded: { ...e, answers: [...n.values()] }, left: r };
}
var ke, H, Mt, fn, Rt = Object.is, Ge = 0, cs = [], Dt = [], K = O, mn = K.__b, _n = K.__r, gn = K.diffed, yn = K.__c, bn = K.unmount, vn = K.__;
function Re(t, e) {
  K.__h && K.__h(H, t, Ge || e), Ge = 0;
  var n = H.__H || (H.__H = { __: [], __h: [] });
  return t >= n.__.length && n.__.push({}), n.__[t];
}
function re(t) {
  return Ge = 1, xr(us, t);
}
function xr(t, e, n) {
  var r = Re(ke++, 2);
  if (r.t = t, !r.__c && (r.__ = [us(void 0, e), function(o) {
    var l = (r.__N || r.__)[0], a = r.t(l, o);
    Rt(l, a) || (r.__N = [a, r.__[1]], r.__c.setState({}));
  }], r.__c = H, !H.__f)) {
    H.__f = !0;
    var i = H.shouldComponentUpdate;
    H.shouldComponentUpdate = function(o, l, a) {
      var u = this.__H;
      if (!u) return !0;
      var d = !1, c = this.props != o;
      if (u.__.some(function(f) {
        f.__N && (d = !0, Rt(f.__[0], f.__N[0]) || (c = !0));
      }), i) {
        var p = i.call(this, o, l, a);
        return d ? p || c : p;
      }
      return !d || c;
    };
  }
  return r.__;
}
function W(t, e) {
  var n = Re(ke++, 3);
  !K.__s && tn(n.__H, e) && (n.__P = !0, n.__ = t, n.u = e, H.__H.__h.push(n));
}
function It(t, e) {
  var n = Re(ke++, 4);
  !K.__s && tn(n.__H, e) && (n.__P = !1, n.__ = t, n.u = e, H.__h.push(n));
}
function Z(t) {
  return Ge = 5, z(function() {
    return { current: t };
  }, []);
}
function z(t, e) {
  var n = Re(ke++, 7);
  return tn(n.__H, e) && (n.__ = t(), n.__H = e), n.__;
}
function ht(t, e) {
  return Ge = 8, z(function() {
    return t;
  }, e);
}
function wr(t) {
  var e = H.context[t.__c], n = Re(ke++, 9);
  return n.c = t, e ? (n.__ == null && (n.__ = !0, e.sub(H)), e.props.value) : t.__;
}
function De() {
  var t = Re(ke++, 11);
  if (!t.__) {
    for (var e = H.__v; !e.__m && e.__; ) e = e.__;
    var n = e.__m || (e.__m = [0, 0]);
    t.__ = "P" + n[0] + "-" + n[1]++;
  }
  return t.__;
}
function kr() {
  var t;
  do {
    for (; t = Dt.shift(); ) try {
      Be(t);
    } catch (n) {
      K.__e(n, { __: (t = t.__P) && t.__v });
    }
    for (; t = cs.shift(); ) {
      var e = t.__H;
      if (t.__P && e) try {
        e.__h.some(Be), e.__h.some(jt), e.__h = [];
      } catch (n) {
        e.__h = [], K.__e(n, t.__v);
      }
    }
  } while (Dt.length);
}
K.__b = function(t) {
  H = null, mn && mn(t);
}, K.__ = function(t, e) {
  t && e.__k && e.__k.__m && (t.__m = e.__k.__m), vn && vn(t, e);
}, K.__r = function(t) {
  _n && _n(t), ke = 0;
  var e = (H = t.__c).__H;
  e && (Mt == H ? H.__h = [] : (e.__h.some(Be), e.__h.some(jt), ke = 0), e.__h = [], e.__.some(function(n) {
    n.__N && (n.__ = n.__N), n.u = n.__N = void 0;
  })), Mt = H;
}, K.diffed = function(t) {
  gn && gn(t);
  var e = t.__c;
  e && e.__H && (e.__H.__h.length && wn(cs.push(e)), e.__H.__.some(function(n) {
    n.u && (n.__H = n.u);
  })), Mt = H = null;
}, K.__c = function(t, e) {
  e.some(function(n) {
    try {
      n.__h.some(Be), n.__h = n.__h.filter(function(r) {
        return !r.__ || jt(r);
      });
    } catch (r) {
      n.__h = [function() {
        throw r;
      }];
    }
  }), yn && yn(t, e);
}, K.unmount = function(t) {
  bn && bn(t);
  var e, n, r = t.__c;
  r && r.__H && (r.__H.__.some(function(i) {
    try {
      if (i.__P && i.__c) {
        if (n === void 0) {
          for (n = t.__; n && (!n.__c || !n.__c.__P); ) n = n.__;
          n = n && n.__c;
        }
        i.__P = n, wn(Dt.push(i));
      } else Be(i);
    } catch (o) {
      e = o;
    }
  }), r.__H = void 0, e && K.__e(e, r.__v));
};
var xn = typeof requestAnimationFrame == "function";
function $r(t) {
  var e, n = function() {
    clearTimeout(r), xn && cancelAnimationFrame(e), setTimeout(t);
  }, r = setTimeout(n, 35);
  xn && (e = requestAnimationFrame(n));
}
function wn(t) {
  t != 1 && fn == K.requestAnimationFrame || ((fn = K.requestAnimationFrame) || $r)(kr);
}
function Be(t) {
  var e = H, n = t.__c;
  typeof n == "function" && (t.__c = void 0, n()), H = e;
}
function jt(t) {
  var e = H;
  t.__c = t.__(), H = e;
}
function tn(t, e) {
  return !t || t.length != e.length || e.some(function(n, r) {
    return !Rt(n, t[r]);
  });
}
function us(t, e) {
  return typeof e == "function" ? e(t) : e;
}
var Cr = Symbol.for("preact-signals");
function kt() {
  if (pe > 1)
    pe--;
  else {
    var t, e = !1;
    for ((function() {
      var i = ft;
      for (ft = void 0; i !== void 0; ) {
        var o = i.S;
        if (o.v === i.v) for (var l = o.t; l !== void 0; l = l.x) l.i === i.i && (l.i = o.i);
        i = i.o;
      }
    })(); Ke !== void 0; ) {
      var n = Ke;
      for (Ke = void 0, pt++; n !== void 0; ) {
        var r = n.u;
        if (n.u = void 0, n.f &= -3, !(8 & n.f) && hs(n)) try {
          n.c();
        } catch (i) {
          e || (t = i, e = !0);
        }
        n = r;
      }
    }
    if (pt = 0, pe--, e) throw t;
  }
}
function it(t) {
  if (pe > 0) return t();
  Ht = ++Sr, pe++;
  try {
    return t();
  } finally {
    kt();
  }
}
var Fe, j = void 0;
function $t(t) {
  var e = j, n = Fe;
  j = void 0, Fe = void 0;
  try {
    return t();
  } finally {
    j = e, Fe = n;
  }
}
var Ke = void 0, pe = 0, pt = 0, Sr = 0, Ht = 0, ft = void 0, mt = 0;
function ds(t) {
  if (j !== void 0) {
    var e = t.n;
    if (e === void 0 || e.t !== j)
      return e = { i: 0, S: t, p: j.s, n: void 0, t: j, e: void 0, x: void 0, r: e }, j.s !== void 0 && (j.s.n = e), j.s = e, t.n = e, 32 & j.f && t.S(e), e;
    if (e.i === -1)
      return e.i = 0, e.n !== void 0 && (e.n.p = e.p, e.p !== void 0 && (e.p.n = e.n), e.p = j.s, e.n = void 0, j.s.n = e, j.s = e), e;
  }
}
function J(t, e) {
  this.v = t, this.i = 0, this.n = void 0, this.t = void 0, this.l = 0, this.W = e?.watched, this.Z = e?.unwatched, this.name = e?.name;
}
J.prototype.brand = Cr;
J.prototype.h = function() {
  return !0;
};
J.prototype.S = function(t) {
  var e = this, n = this.t;
  n !== t && t.e === void 0 && (t.x = n, this.t = t, n !== void 0 ? n.e = t : $t(function() {
    var r;
    (r = e.W) == null || r.call(e);
  }));
};
J.prototype.U = function(t) {
  var e = this;
  if (this.t !== void 0) {
    var n = t.e, r = t.x;
    n !== void 0 && (n.x = r, t.e = void 0), r !== void 0 && (r.e = n, t.x = void 0), t === this.t && (this.t = r, r === void 0 && $t(function() {
      var i;
      (i = e.Z) == null || i.call(e);
    }));
  }
};
J.prototype.subscribe = function(t) {
  var e = this;
  return Pe(function() {
    var n = e.value;
    $t(function() {
      return t(n);
    });
  }, { name: "sub" });
};
J.prototype.valueOf = function() {
  return this.value;
};
J.prototype.toString = function() {
  return this.value + "";
};
J.prototype.toJSON = function() {
  return this.value;
};
J.prototype.peek = function() {
  var t = this;
  return $t(function() {
    return t.value;
  });
};
Object.defineProperty(J.prototype, "value", { get: function() {
  var t = ds(this);
  return t !== void 0 && (t.i = this.i), this.v;
}, set: function(t) {
  if (t !== this.v) {
    if (pt > 100) throw new Error("Cycle detected");
    (function(n) {
      pe !== 0 && pt === 0 && n.l !== Ht && (n.l = Ht, ft = { S: n, v: n.v, i: n.i, o: ft });
    })(this), this.v = t, this.i++, mt++, pe++;
    try {
      for (var e = this.t; e !== void 0; e = e.x) e.t.N();
    } finally {
      kt();
    }
  }
} });
function V(t, e) {
  return new J(t, e);
}
function hs(t) {
  for (var e = t.s; e !== void 0; e = e.n) if (e.S.i !== e.i || !e.S.h() || e.S.i !== e.i) return !0;
  return !1;
}
function ps(t) {
  for (var e = t.s; e !== void 0; e = e.n) {
    var n = e.S.n;
    if (n !== void 0 && (e.r = n), e.S.n = e, e.i = -1, e.n === void 0) {
      t.s = e;
      break;
    }
  }
}
function fs(t) {
  for (var e = t.s, n = void 0; e !== void 0; ) {
    var r = e.p;
    e.i === -1 ? (e.S.U(e), r !== void 0 && (r.n = e.n), e.n !== void 0 && (e.n.p = r)) : n = e, e.S.n = e.r, e.r !== void 0 && (e.r = void 0), e = r;
  }
  t.s = n;
}
function Ne(t, e) {
  J.call(this, void 0, e), this.x = t, this.s = void 0, this.g = mt - 1, this.f = 4;
}
Ne.prototype = new J();
Ne.prototype.h = function() {
  if (this.f &= -3, 1 & this.f) return !1;
  if ((36 & this.f) == 32 || (this.f &= -5, this.g === mt)) return !0;
  if (this.g = mt, this.f |= 1, this.i > 0 && !hs(this))
    return this.f &= -2, !0;
  var t = j;
  try {
    ps(this), j = this;
    var e = this.x();
    (16 & this.f || this.v !== e || this.i === 0) && (this.v = e, this.f &= -17, this.i++);
  } catch (n) {
    this.v = n, this.f |= 16, this.i++;
  }
  return j = t, fs(this), this.f &= -2, !0;
};
Ne.prototype.S = function(t) {
  if (this.t === void 0) {
    this.f |= 36;
    for (var e = this.s; e !== void 0; e = e.n) e.S.S(e);
  }
  J.prototype.S.call(this, t);
};
Ne.prototype.U = function(t) {
  if (this.t !== void 0 && (J.prototype.U.call(this, t), this.t === void 0)) {
    this.f &= -33;
    for (var e = this.s; e !== void 0; e = e.n) e.S.U(e);
  }
};
Ne.prototype.N = function() {
  if (!(2 & this.f)) {
    this.f |= 6;
    for (var t = this.t; t !== void 0; t = t.x) t.t.N();
  }
};
Object.defineProperty(Ne.prototype, "value", { get: function() {
  if (1 & this.f) throw new Error("Cycle detected");
  var t = ds(this);
  if (this.h(), t !== void 0 && (t.i = this.i), 16 & this.f) throw this.v;
  return this.v;
} });
function _t(t, e) {
  return new Ne(t, e);
}
function ms(t) {
  var e = t.j;
  if (t.j = void 0, typeof e == "function") {
    pe++;
    var n = j;
    j = void 0;
    try {
      e();
    } catch (r) {
      throw t.f &= -2, t.f |= 8, nn(t), r;
    } finally {
      j = n, kt();
    }
  }
}
function nn(t) {
  for (var e = t.s; e !== void 0; e = e.n) e.S.U(e);
  t.x = void 0, t.s = void 0, ms(t);
}
function Tr(t) {
  if (j !== this) throw new Error("Out-of-order effect");
  fs(this), j = t, this.f &= -2;
  try {
    8 & this.f && nn(this);
  } finally {
    kt();
  }
}
function Ie(t, e) {
  this.x = t, this.j = void 0, this.s = void 0, this.u = void 0, this.f = 32, this.name = e?.name, Fe && Fe.push(this);
}
Ie.prototype.c = function() {
  var t = this.S();
  try {
    if (8 & this.f || this.x === void 0) return;
    var e = this.x();
    typeof e == "function" && (this.j = e);
  } finally {
    t();
  }
};
Ie.prototype.S = function() {
  if (1 & this.f) throw new Error("Cycle detected");
  this.f |= 1, this.f &= -9, ms(this), ps(this), pe++;
  var t = j;
  return j = this, Tr.bind(this, t);
};
Ie.prototype.N = function() {
  2 & this.f || (this.f |= 2, this.u = Ke, Ke = this);
};
Ie.prototype.d = function() {
  this.f |= 8, 1 & this.f || nn(this);
};
Ie.prototype.dispose = function() {
  this.d();
};
function Pe(t, e) {
  var n = new Ie(t, e);
  try {
    n.c();
  } catch (i) {
    throw n.d(), i;
  }
  var r = n.d.bind(n);
  return r[Symbol.dispose] = r, r;
}
var _s, Ze, Mr = typeof window < "u" && !!window.__PREACT_SIGNALS_DEVTOOLS__, gs = [];
Pe(function() {
  _s = this.N;
})();
function je(t, e) {
  O[t] = e.bind(null, O[t] || function() {
  });
}
function Ve(t) {
  if (Ze) {
    var e = Ze;
    Ze = void 0, e();
  }
  Ze = t && t.S();
}
function ys(t) {
  var e = this, n = t.data, r = Lr(n);
  r.name = "ReactiveDom", r.value = n;
  var i = z(function() {
    for (var a = e, u = e.__v; u = u.__; ) if (u.__c) {
      u.__c.__$f |= 4;
      break;
    }
    var d = _t(function() {
      var h = r.value.value;
      return h === 0 ? 0 : h === !0 ? "" : h || "";
    }), c = _t(function() {
      return !Array.isArray(d.value) && !Bn(d.value);
    }), p = Pe(function() {
      if (this.N = bs, c.value) {
        var h = d.value;
        a.__v && a.__v.__e && a.__v.__e.nodeType === 3 && (a.__v.__e.data = h);
      }
    }), f = e.__$u.d;
    return e.__$u.d = function() {
      p(), f.call(this);
    }, [c, d];
  }, []), o = i[0], l = i[1];
  return o.value ? l.peek() : l.value;
}
ys.displayName = "ReactiveTextNode";
Object.defineProperties(J.prototype, { constructor: { configurable: !0, value: nr(U, null).constructor }, type: { configurable: !0, value: ys }, props: { configurable: !0, get: function() {
  var t = this;
  return { data: { get value() {
    return t.value;
  } } };
} }, __b: { configurable: !0, value: 1 } });
je("__b", function(t, e) {
  if (Ve(), typeof e.type == "string") {
    var n, r = e.props;
    for (var i in r) if (i !== "children") {
      var o = r[i];
      o instanceof J && (n || (e.__np = n = {}), n[i] = o, r[i] = o.peek());
    }
  }
  t(e);
});
je("__r", function(t, e) {
  if (t(e), e.type !== U) {
    Ve();
    var n, r = e.__c;
    r && (r.__$f &= -2, (n = r.__$u) === void 0 && (r.__$u = n = (function(i, o) {
      var l;
      return Pe(function() {
        l = this;
      }, { name: o }), l.c = i, l;
    })(/* @__PURE__ */ (function(i) {
      return function() {
        var o;
        Mr && ((o = this.y) == null || o.call(this)), i.__$f |= 1, i.setState({});
      };
    })(r), typeof e.type == "function" ? e.type.displayName || e.type.name : ""))), Ve(n);
  }
});
je("__e", function(t, e, n, r) {
  Ve(), t(e, n, r);
});
je("diffed", function(t, e) {
  Ve();
  var n;
  if (typeof e.type == "string" && (n = e.__e)) {
    var r = e.__np, i = e.props, o = n.U;
    if (o) for (var l in o) {
      var a = o[l];
      a === void 0 || r && l in r || (a.d(), o[l] = void 0);
    }
    if (r) {
      o || (o = {}, n.U = o);
      for (var u in r) {
        var d = o[u], c = r[u];
        d === void 0 ? (d = Er(n, u, c, i), o[u] = d) : d.o(c, i);
      }
    }
  }
  t(e);
});
function Er(t, e, n, r) {
  var i = e in t && t.ownerSVGElement === void 0, o = V(n);
  return { o: function(l, a) {
    o.value = l, r = a;
  }, d: Pe(function() {
    this.N = bs;
    var l = o.value.value;
    r[e] !== l && (r[e] = l, i ? t[e] = l : l != null && (l !== !1 || e[4] === "-") ? t.setAttribute(e, l) : t.removeAttribute(e));
  }) };
}
je("unmount", function(t, e) {
  if (typeof e.type == "string") {
    var n = e.__e;
    if (n) {
      var r = n.U;
      if (r) {
        n.U = void 0;
        for (var i in r) {
          var o = r[i];
          o && o.d();
        }
      }
    }
    var l = e.__np;
    if (l) {
      var a = e.props;
      for (var u in l) a[u] = l[u];
    }
    e.__np = void 0;
  } else {
    var d = e.__c;
    if (d) {
      d.__$f |= 8;
      var c = d.__$u;
      c && (d.__$u = void 0, c.d());
    }
  }
  t(e);
});
je("__h", function(t, e, n, r) {
  r < 3 && (e.__$f |= 2), t(e, n, r);
});
Le.prototype.shouldComponentUpdate = function(t, e) {
  if (this.__R) return !0;
  var n = this.__$u, r = n && n.s !== void 0;
  for (var i in e) return !0;
  if (this.__f || typeof this.u == "boolean" && this.u === !0) {
    var o = 2 & this.__$f;
    if (!(r || o || 4 & this.__$f) || 1 & this.__$f) return !0;
  } else if (!(r || 4 & this.__$f) || 3 & this.__$f) return !0;
  for (var l in t) if (l !== "__source" && t[l] !== this.props[l]) return !0;
  for (var a in this.props) if (!(a in t)) return !0;
  return !1;
};
function Lr(t, e) {
  return z(function() {
    return V(t, e);
  }, []);
}
var Pr = function(t) {
  queueMicrotask(function() {
    queueMicrotask(t);
  });
};
function Ar() {
  it(function() {
    for (var t; t = gs.shift(); ) _s.call(t);
  });
}
function bs() {
  gs.push(this) === 1 && (O.requestAnimationFrame || Pr)(Ar);
}
function F(t, e, n) {
  return Math.min(Math.max(t, e), n);
}
function he(t) {
  if (!Number.isFinite(t)) return "–";
  const e = t * 100;
  return e > 0 && e < 0.1 ? "<0.1 %" : `${e.toFixed(e < 9.95 ? 1 : 0)} %`;
}
function te(t, e = 2, n = !1) {
  if (!Number.isFinite(t)) return "–";
  const r = Math.abs(t).toFixed(e);
  return Number(r) === 0 ? r : (t < 0 ? "−" : n ? "+" : "") + r;
}
function Je(t) {
  return te(t, t < 0.095 && t > 0 ? 3 : 2);
}
function Ut(t, e) {
  const n = Float64Array.from(t.filter(Number.isFinite)).sort();
  return n.length ? n[Math.min(n.length - 1, Math.floor(e * n.length))] : 0;
}
function gt(t, e, n = e + "s") {
  return `${t} ${t === 1 ? e : n}`;
}
const ze = (t, e) => ({ kind: "grid", prompt: t, lens: e }), yt = (t, { layer: e, position: n }) => ({ kind: "cell", prompt: t, layer: e, position: n }), bt = (t, e, { layer: n, position: r }) => ({
  kind: "words",
  prompt: e,
  inspection: t.inspection,
  layer: n,
  position: r
}), sn = (t, { layer: e, position: n }) => ({
  kind: "step",
  prompt: t.prompt,
  inspection: t.inspection,
  reader: t.reader,
  layer: e,
  position: n
}), vs = (t) => ({
  kind: "patch",
  prompts: t.prompts,
  patches: t.patches,
  max_new_tokens: t.new_tokens
}), Wt = ({ clean: t, corrupted: e, answer: n, wrong: r, site: i }) => ({
  kind: "matters",
  clean: t,
  corrupted: e,
  answer: n,
  wrong: r,
  site: i
}), xs = ({ clean: t, corrupted: e, answer: n, wrong: r, threshold: i }) => ({
  kind: "circuit",
  clean: t,
  corrupted: e,
  answer: n,
  wrong: r,
  threshold: i
});
function ws(t) {
  switch (t.view) {
    case "grid": {
      const e = ze(t.prompt, t.lens);
      return t.cell ? [bt(t, t.prompt, t.cell), yt(t.prompt, t.cell), e] : [e];
    }
    case "patch":
      return [
        ...t.patches.length ? [vs(t)] : [],
        ze(t.prompts[0], t.lens),
        ze(t.prompts[1], t.lens)
      ];
    case "matters":
      return t.circuit ? [xs(t), Wt(t)] : [Wt(t)];
    case "step":
      return t.cell ? [sn(t, t.cell)] : [];
  }
}
function Nr(t, e) {
  return t === "resid_pre" ? { ...e, layer: Math.max(0, e.layer - 1) } : e;
}
class vt extends Error {
}
class ks extends Error {
}
function $s(t, e) {
  const n = new Map(t.answers.map(({ question: r, parts: i }) => [be(r), i]));
  return {
    live: !1,
    page: e,
    async ask({ question: r }, i) {
      const o = n.get(be(r));
      if (!o) throw new ks();
      for (const l of o) i({ part: l });
      i({ done: !0 });
    },
    exportPage: null
  };
}
const Or = {
  tokens: {},
  grid: { rows: ["layer"] },
  cell: { lenses: ["lens"] },
  words: { said: ["reader", "condition"] },
  step: { steps: [], layers: ["layer"] },
  patch: { results: ["prompt"] },
  matters: { exact: ["layer"] },
  circuit: { nodes: ["site"] }
};
function Cs(t, e, n) {
  const r = { ...e };
  for (const [i, o] of Object.entries(n)) {
    const l = Or[t][i], a = r[i];
    i === "notes" && Array.isArray(o) && Array.isArray(a) ? r[i] = [.../* @__PURE__ */ new Set([...a, ...o])] : l && Array.isArray(o) ? r[i] = Rr(Array.isArray(a) ? a : [], o, l) : r[i] = o;
  }
  return r;
}
function Rr(t, e, n) {
  if (!n.length) return [...t, ...e];
  const r = [...t];
  for (const i of e) {
    const o = r.findIndex((l) => n.every((a) => l[a] === i[a]));
    o < 0 ? r.push(i) : r[o] = i;
  }
  return r;
}
const Dr = 600, Ir = 16;
class jr {
  constructor(e, n, r) {
    this.transport = e, this.session = n, this.onLost = r, this.busy = V([]), this.revision = V(0), this.entries = /* @__PURE__ */ new Map(), this.running = /* @__PURE__ */ new Map();
  }
  /** Of a question, what is known; it may not have been asked. */
  slot(e) {
    const n = be(e);
    let r = this.entries.get(n);
    return r ? this.entries.delete(n) : r = V({ question: e, answer: {}, status: "unasked", progress: null, failure: null }), this.entries.set(n, r), this.forget(), r;
  }
  has(e) {
    return this.entries.get(be(e))?.peek().status === "done";
  }
  ask(e, n) {
    const r = be(n), i = this.slot(n);
    if (this.leave(e, r), i.peek().status === "done") return;
    const o = this.running.get(r);
    if (o) {
      if (o.lanes.add(e), o.lane !== "idle" || e === "idle") return;
      this.end(r, "unasked");
    }
    this.start(e, r, i);
  }
  /** Ends what this lane asks; what another lane waits for as well goes on in that one. */
  leave(e, n) {
    for (const [r, i] of [...this.running]) {
      if (r === n || !i.lanes.delete(e)) continue;
      const [o] = i.lanes;
      if (i.lane !== e && o !== void 0) continue;
      this.end(r, o === void 0 ? "stopped" : "unasked");
      const l = this.entries.get(r);
      o !== void 0 && l && this.start(o, r, l);
    }
  }
  stopAll() {
    for (const e of [...this.running.keys()]) this.end(e, "stopped");
  }
  /** Another model or a recording answers from now on. */
  change(e) {
    this.stopAll(), this.entries.clear(), this.transport = e, this.revision.value += 1;
  }
  learn(e) {
    for (const { question: n, parts: r } of e) {
      const i = r.reduce((o, l) => Cs(n.kind, o, l), {});
      this.slot(n).value = { question: n, answer: i, status: "done", progress: null, failure: null };
    }
    this.revision.value += 1;
  }
  /** All that is known, as it is saved. */
  known() {
    return [...this.entries.values()].map((e) => e.peek()).filter((e) => e.status === "done").map(({ question: e, answer: n }) => ({ question: e, parts: [n] }));
  }
  start(e, n, r) {
    const i = new AbortController(), o = { lanes: /* @__PURE__ */ new Set([e]), lane: e, abort: i };
    this.running.set(n, o);
    const { question: l } = r.peek();
    r.value = { question: l, answer: {}, status: "waiting", progress: null, failure: null }, this.tellBusy();
    let a = [], u;
    const d = () => {
      if (clearTimeout(u), u = void 0, i.signal.aborted || !a.length) return;
      let f = r.peek();
      for (const h of a) f = Hr(f, h);
      a = [], r.value = f, (f.progress || f.status === "done") && this.tellBusy();
    }, c = (f) => {
      a.push(f), u ?? (u = setTimeout(d, Ir));
    }, p = (f) => {
      d(), !i.signal.aborted && (this.running.get(n) === o && this.running.delete(n), f && (r.value = { ...r.peek(), status: f }), r.peek().status === "done" && (this.revision.value += 1), this.tellBusy());
    };
    this.transport.ask({ session: this.session, lane: e, question: l }, c, i.signal).then(
      () => p(),
      (f) => {
        if (!i.signal.aborted) {
          if (f instanceof ks) return p("missing");
          if (f instanceof vt)
            return p("lost"), e === "idle" ? void 0 : this.onLost();
          a.push({ error: Ur(f) }), p();
        }
      }
    );
  }
  end(e, n) {
    const r = this.running.get(e), i = this.entries.get(e);
    this.running.delete(e), r?.abort.abort(), i && i.peek().status === "waiting" && (i.value = { ...i.peek(), status: n }), this.tellBusy();
  }
  tellBusy() {
    const e = [...this.running].filter(([, r]) => r.lane !== "idle" && !r.lane.startsWith("tokens")).flatMap(([r]) => this.entries.get(r)?.peek() ?? []), n = this.busy.peek();
    (e.length !== n.length || e.some((r, i) => r !== n[i])) && (this.busy.value = e);
  }
  forget() {
    for (const e of this.entries.keys()) {
      if (this.entries.size <= Dr) return;
      this.running.has(e) || this.entries.delete(e);
    }
  }
}
function Hr(t, e) {
  return "part" in e ? { ...t, answer: Cs(t.question.kind, t.answer, e.part) } : "progress" in e ? { ...t, progress: e.progress } : "error" in e ? { ...t, status: "failed", failure: e.error } : { ...t, status: "done" };
}
function Ur(t) {
  return {
    what: "The answer could not be read",
    got: t instanceof Error ? t.message : String(t),
    expected: "an answer of this version of lensscope",
    instead: "Reload the page; if it stays, the server and the page are of different versions"
  };
}
class rn {
  constructor(e, n, r) {
    this.lost = V(!1), this.again = V(0), this.notices = V([]), this.spoken = V(""), this.dialog = V(null), this.held = V(null), this.mattersCell = V(null), this.singleKeys = V(!0), this.interrupt = null, this.liveBefore = V(null), this.media = typeof matchMedia == "function" ? matchMedia("(prefers-color-scheme: dark)") : null, this.systemDark = V(this.media?.matches ?? !1), this.noticeCount = 0, this.onMedia = (o) => {
      this.systemDark.value = o.matches;
    }, this.about = V(e), this.state = V(qe(n, e)), this.transport = V(r);
    const i = Array.from(crypto.getRandomValues(new Uint8Array(8)), (o) => o.toString(16).padStart(2, "0")).join("");
    this.asker = new jr(r, i, () => this.lost.value = !0), this.media?.addEventListener("change", this.onMedia), this.dark = _t(() => {
      const { theme: o } = this.state.value;
      return o === "auto" ? this.systemDark.value : o === "dark";
    }), this.recording = _t(() => !this.transport.value.live);
  }
  close() {
    this.media?.removeEventListener("change", this.onMedia), this.asker.stopAll();
  }
  set(e) {
    this.state.value = { ...this.state.peek(), ...e };
  }
  setPatches(e) {
    const n = this.about.peek().limits.patches;
    if (e.length > n) {
      this.tell(`At most ${n} patches at once.`, "bad");
      return;
    }
    this.set({ patches: e });
  }
  /** From a link. */
  restore(e) {
    this.state.value = qe(e, this.about.peek());
  }
  /** Of the step view: one token on, or back. */
  stepBy(e) {
    const n = this.state.peek();
    if (!n.cell) return;
    const r = this.asker.slot(sn(n, n.cell)).peek().answer.steps?.length ?? 0;
    this.set({ step: F(Math.min(n.step, r) + e, 0, r) });
  }
  say(e) {
    this.spoken.value = e;
  }
  tell(e, n = "quiet") {
    const r = ++this.noticeCount;
    this.notices.value = [...this.notices.peek().filter((i) => i.text !== e), { id: r, text: e, tone: n }].slice(-4), n === "quiet" && setTimeout(() => this.dismiss(r), 6e3);
  }
  dismiss(e) {
    this.notices.value = this.notices.peek().filter((n) => n.id !== e);
  }
  retry() {
    this.lost.value = !1, this.again.value += 1;
  }
  hidden(e) {
    const { quiz: n } = this.state.value;
    return !!n && n.layers.includes(e) && !n.shown.includes(e);
  }
  reveal(e) {
    const { quiz: n } = this.state.peek();
    n && !n.shown.includes(e) && this.set({ quiz: { ...n, shown: [...n.shown, e] } });
  }
  /** The lines of Python that give what is on the screen. */
  python() {
    for (const e of ws(this.state.peek())) {
      const { answer: n } = this.asker.slot(e).peek();
      if (n.python) return n.python;
    }
    return null;
  }
  recorded() {
    const e = this.about.peek();
    return { format: e.format, version: 1, about: { ...e, live: !1 }, state: this.state.peek(), answers: this.asker.known() };
  }
  /** A file's text: of this model, its answers are learned; of another one, it is shown as a recording. */
  open(e) {
    const { recorded: n, left: r } = as(JSON.parse(e)), i = r ? ` ${r} of its answers could not be read.` : "";
    if (!this.recording.peek() && n.about.model.fingerprint === this.about.peek().model.fingerprint) {
      it(() => {
        this.asker.learn(n.answers), this.state.value = qe(n.state, this.about.peek());
      }), this.tell(`Opened: ${n.answers.length} answers of this model.${i}`);
      return;
    }
    it(() => {
      var o;
      (o = this.liveBefore).value ?? (o.value = {
        about: this.about.peek(),
        transport: this.transport.peek(),
        state: this.state.peek(),
        answers: this.asker.known()
      }), this.show(n);
    }), this.tell(`Opened a recording of ${n.about.model.name}.${i}`);
  }
  show(e) {
    const n = $s(e, this.transport.peek().page);
    this.asker.change(n), this.asker.learn(e.answers), this.about.value = e.about, this.state.value = qe(e.state, e.about), this.transport.value = n, this.mattersCell.value = null, this.held.value = null;
  }
  backToLive() {
    const e = this.liveBefore.peek();
    e && it(() => {
      this.asker.change(e.transport), this.asker.learn(e.answers), this.about.value = e.about, this.state.value = e.state, this.transport.value = e.transport, this.liveBefore.value = null;
    });
  }
}
function qe(t, e) {
  const n = e.model.n_layers - 1, r = (o) => ({ ...o, layer: F(o.layer, 0, n) }), { inspection: i } = t;
  return {
    ...t,
    lens: e.lenses.some(({ id: o }) => o === t.lens) ? t.lens : e.lenses[0]?.id ?? t.lens,
    reader: e.readers.some(({ id: o }) => o === t.reader) ? t.reader : e.readers[0]?.id ?? t.reader,
    cell: t.cell && r(t.cell),
    patches: t.patches.slice(0, e.limits.patches).map((o) => ({ ...o, from: o.from && r(o.from), to: r(o.to) })),
    inspection: {
      ...i,
      target: i.target === "same" ? "same" : F(i.target, 0, n),
      preset: e.presets.some(({ id: o }) => o === i.preset) ? i.preset : ""
    }
  };
}
function Ss(t) {
  const e = new TextEncoder().encode(se(t));
  let n = "";
  for (const r of e) n += String.fromCharCode(r);
  return btoa(n).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
}
function Wr(t) {
  const e = t.replace(/^#/, "").replace(/-/g, "+").replace(/_/g, "/"), n = Uint8Array.from(atob(e), (r) => r.charCodeAt(0));
  return mr(JSON.parse(new TextDecoder("utf-8", { fatal: !0 }).decode(n)), "");
}
function Br() {
  let t = "";
  return (e) => {
    t = (t + e).replace(/\r\n/g, `
`);
    const n = t.split(`

`);
    return t = n.pop() ?? "", n.map(
      (r) => r.split(`
`).filter((i) => i.startsWith("data:")).map((i) => i.slice(i.startsWith("data: ") ? 6 : 5)).join(`
`)
    ).filter(Boolean);
  };
}
async function Fr(t, e) {
  const n = t.getReader(), r = new TextDecoder(), i = Br();
  for (; ; ) {
    const { done: o, value: l } = await n.read();
    for (const a of i(o ? r.decode() + `

` : r.decode(l, { stream: !0 }))) {
      const u = JSON.parse(a);
      if (e(u), "done" in u || "error" in u)
        return n.cancel().catch(() => {
        }), !0;
    }
    if (o) return !1;
  }
}
function Kr() {
  const t = new URLSearchParams(location.search).get("token");
  return {
    "Content-Type": "application/json",
    "X-Lensscope": "explorer",
    ...t ? { "X-Lensscope-Token": t } : {}
  };
}
async function Bt(t, e) {
  try {
    return await fetch(t, { ...e, headers: Kr(), credentials: "same-origin" });
  } catch (n) {
    throw n instanceof DOMException && n.name === "AbortError" ? n : new vt();
  }
}
async function Ft(t) {
  const e = await t.text().catch(() => "");
  try {
    const { error: n } = JSON.parse(e);
    if (n && typeof n.what == "string") return n;
  } catch {
  }
  return {
    what: "The server refused the question",
    got: `${t.status} ${t.statusText}`.trim() + (e ? `: ${e.slice(0, 500)}` : ""),
    expected: "an answer",
    instead: t.status === 401 || t.status === 403 ? "Open the address that `lensscope explore` printed, with its token" : "Look at the terminal where `lensscope explore` runs"
  };
}
async function zr() {
  const t = await Bt("about", { method: "GET" });
  if (!t.ok) {
    const e = await Ft(t);
    throw new Error(`${e.what}. ${e.got}. ${e.instead}.`);
  }
  return ls(await t.json());
}
const Gr = {
  live: !0,
  page: !0,
  async ask(t, e, n) {
    const r = await Bt("ask", { method: "POST", body: JSON.stringify(t), signal: n });
    if (!r.ok || !r.body) return e({ error: await Ft(r) });
    let i = !1;
    try {
      i = await Fr(r.body, (o) => n.aborted || e(o));
    } catch (o) {
      throw n.aborted ? o : new vt();
    }
    if (!i && !n.aborted) throw new vt();
  },
  async exportPage(t) {
    const e = await Bt("export", { method: "POST", body: JSON.stringify(t) });
    if (!e.ok) {
      const n = await Ft(e);
      throw new Error(`${n.what}. ${n.got}. ${n.instead}.`);
    }
    return e.text();
  }
};
function Vr(t) {
  const e = /* @__PURE__ */ new Map();
  let n = Math.floor(Math.random() * 1e9) * 1e3;
  const r = (o) => {
    const l = o;
    typeof l?.id == "number" && e.get(l.id)?.(l);
  };
  t.on("msg:custom", r);
  const i = (o) => t.send(o);
  return {
    live: !0,
    page: !1,
    ask: (o, l, a) => new Promise((u, d) => {
      const c = n++, p = () => {
        e.delete(c), a.removeEventListener("abort", f);
      }, f = () => {
        p(), i({ type: "cancel", id: c }), d(new DOMException("stopped", "AbortError"));
      };
      a.addEventListener("abort", f), e.set(c, (h) => {
        "html" in h || (l(h), ("done" in h || "error" in h) && (p(), u()));
      }), i({ type: "ask", id: c, ...o });
    }),
    exportPage: (o) => new Promise((l, a) => {
      const u = n++;
      e.set(u, (d) => {
        if ("html" in d) l(d.html);
        else if ("error" in d) a(new Error(`${d.error.what}. ${d.error.instead}.`));
        else return;
        e.delete(u);
      }), i({ type: "export", id: u, recorded: o });
    }),
    close: () => t.off("msg:custom", r)
  };
}
const Jr = 50 * 1024 * 1024;
function Ts(t, e, n) {
  const r = document.createElement("a");
  r.href = URL.createObjectURL(new Blob([n], { type: e })), r.download = t, r.click(), setTimeout(() => URL.revokeObjectURL(r.href), 1e4);
}
function Ms(t, e) {
  return `lensscope-${(t.about.peek().model.name.split("/").pop() ?? "model").replace(/[^\w.-]+/g, "-")}.${e}`;
}
async function on(t, e, n) {
  try {
    return await navigator.clipboard.writeText(e), t.tell(`${n} copied.`), !0;
  } catch {
    return t.tell(`The browser did not let the ${n.toLowerCase()} be copied.`, "bad"), !1;
  }
}
function Xr(t) {
  const e = new URL(location.href);
  return e.hash = Ss(t.state.peek()), e.href;
}
async function Es(t) {
  const e = Xr(t);
  history.replaceState(null, "", e), await on(t, e, "Link");
}
function Ls(t) {
  const e = t.python();
  if (!e) {
    t.tell("Nothing has been answered yet: there is no code to copy.");
    return;
  }
  t.dialog.value = "python", on(t, e, "Python");
}
function Ps(t) {
  const e = t.recorded();
  Ts(Ms(t, "json"), "application/json", JSON.stringify(e)), t.tell(`Saved: ${e.answers.length} answers.`);
}
async function Yr(t, e) {
  if (e.size > Jr) {
    t.tell("This file is larger than 50 MB: it was not opened.", "bad");
    return;
  }
  try {
    t.open(await e.text());
  } catch (n) {
    const r = n instanceof SyntaxError ? "it is no JSON" : n instanceof Error ? n.message : String(n);
    t.tell(`“${e.name}” is not a recording of lensscope: ${r}.`, "bad");
  }
}
async function Qr(t) {
  const { exportPage: e } = t.transport.peek();
  if (e)
    try {
      Ts(Ms(t, "html"), "text/html", await e(t.recorded())), t.tell("Exported: a page that works without the model.");
    } catch (n) {
      t.tell(n instanceof Error && n.message ? `Not exported: ${n.message}` : "The server does not answer: nothing was exported.", "bad");
    }
}
const As = cr(null);
function D() {
  const t = wr(As);
  if (!t) throw new Error("outside of an explorer");
  return t;
}
const Zr = 250;
function ae(t, e, { debounce: n = 0, useful: r, keep: i = !1 } = {}) {
  const o = D(), l = e ? be(e) : null, a = o.again.value, u = o.transport.value, d = Z(0), p = (e ? o.asker.slot(e) : null)?.value ?? null, f = Z(null);
  W(() => {
    if (!e) {
      o.asker.leave(t);
      return;
    }
    const { status: m } = o.asker.slot(e).peek(), b = performance.now(), x = b - d.current < Zr;
    if (d.current = b, m === "done" || !x || !n) {
      o.asker.ask(t, e);
      return;
    }
    o.asker.leave(t, l ?? void 0);
    const T = setTimeout(() => o.asker.ask(t, e), n);
    return () => clearTimeout(T);
  }, [l, t, a, u]), W(() => i ? void 0 : () => o.asker.leave(t), [t]), p ? (p.status === "missing" || p.status === "failed" || !r || r(p.answer)) && (f.current = p) : f.current = null;
  const h = f.current ?? p;
  return { entry: p, shown: h, stale: !!p && h !== p && h?.question !== p.question };
}
function ln(t) {
  const e = Z(t);
  return e.current = t, e;
}
function Ns({ title: t, children: e }) {
  const n = D(), r = Z(null), i = De();
  W(() => {
    const l = r.current;
    if (!l) return;
    const a = l.getRootNode().activeElement;
    return l.showModal(), () => {
      l.close(), a?.focus?.();
    };
  }, []);
  const o = () => n.dialog.value = null;
  return /* @__PURE__ */ s(
    "dialog",
    {
      ref: r,
      class: "lsx-dialog",
      "aria-labelledby": i,
      onCancel: (l) => {
        l.preventDefault(), o();
      },
      onClick: (l) => l.target === r.current && o(),
      children: /* @__PURE__ */ s("div", { class: "lsx-dialog-body", children: [
        /* @__PURE__ */ s("div", { class: "lsx-dialog-head", children: [
          /* @__PURE__ */ s("h2", { id: i, children: t }),
          /* @__PURE__ */ s("button", { type: "button", class: "lsx-button lsx-icon", "aria-label": "Close", onClick: o, children: "×" })
        ] }),
        e
      ] })
    }
  );
}
const qr = [
  [
    "Everywhere",
    [
      [["1", "2", "3", "4"], "the views"],
      [["l", "L"], "next, previous lens"],
      [["k"], "next colour"],
      [["p"], "presenter"],
      [["s"], "save"],
      [["u"], "copy the link"],
      [["y"], "copy as Python"],
      [["Esc"], "close, let go, stop"],
      [["?"], "these keys"]
    ]
  ],
  [
    "In a grid",
    [
      [["↑", "↓", "←", "→"], "move"],
      [["Home", "End"], "first, last token"],
      [["Ctrl+Home", "Ctrl+End"], "first, last cell"],
      [["Page ↑", "Page ↓"], "a page of layers"],
      [["Enter"], "select"],
      [["q"], "quiz"],
      [["r"], "reveal this layer"]
    ]
  ],
  [
    "Patching",
    [
      [["c"], "copy the state"],
      [["v"], "write it here"],
      [["Delete"], "remove the patches here"]
    ]
  ],
  [
    "Stepping",
    [
      [["→", "Space"], "next token"],
      [["←"], "back"]
    ]
  ]
];
function eo() {
  const t = D();
  return /* @__PURE__ */ s(Ns, { title: "Keys", children: [
    /* @__PURE__ */ s("div", { class: "lsx-keys", children: qr.map(([e, n]) => /* @__PURE__ */ s("section", { children: [
      /* @__PURE__ */ s("h3", { children: e }),
      /* @__PURE__ */ s("dl", { children: n.map(([r, i]) => /* @__PURE__ */ s("div", { children: [
        /* @__PURE__ */ s("dt", { children: r.map((o) => /* @__PURE__ */ s("kbd", { children: o }, o)) }),
        /* @__PURE__ */ s("dd", { children: i })
      ] }, i)) })
    ] }, e)) }),
    /* @__PURE__ */ s("label", { class: "lsx-check", children: [
      /* @__PURE__ */ s("input", { type: "checkbox", checked: t.singleKeys.value, onChange: (e) => t.singleKeys.value = e.currentTarget.checked }),
      "Keys of a single letter, digit or sign work"
    ] })
  ] });
}
function to() {
  const t = D(), e = t.python() ?? "";
  return /* @__PURE__ */ s(Ns, { title: "As Python", children: [
    /* @__PURE__ */ s("p", { class: "lsx-muted", children: "These lines give what is on the screen." }),
    /* @__PURE__ */ s("pre", { class: "lsx-code", "data-testid": "python-code", tabIndex: 0, "aria-label": "Python code", children: /* @__PURE__ */ s("code", { children: e }) }),
    /* @__PURE__ */ s("button", { type: "button", class: "lsx-button lsx-primary", onClick: () => void on(t, e, "Python"), children: "Copy" })
  ] });
}
function no() {
  const t = D().dialog.value;
  return t === "keys" ? /* @__PURE__ */ s(eo, {}) : t === "python" ? /* @__PURE__ */ s(to, {}) : null;
}
function an({ failure: t, onRetry: e }) {
  return /* @__PURE__ */ s("div", { class: "lsx-failure", role: "alert", "data-testid": "error", children: [
    /* @__PURE__ */ s("p", { class: "lsx-what", children: t.what }),
    /* @__PURE__ */ s("dl", { children: [
      t.got && /* @__PURE__ */ s(U, { children: [
        /* @__PURE__ */ s("dt", { children: "Got" }),
        /* @__PURE__ */ s("dd", { children: t.got })
      ] }),
      t.expected && /* @__PURE__ */ s(U, { children: [
        /* @__PURE__ */ s("dt", { children: "Expected" }),
        /* @__PURE__ */ s("dd", { children: t.expected })
      ] }),
      t.instead && /* @__PURE__ */ s(U, { children: [
        /* @__PURE__ */ s("dt", { children: "Instead" }),
        /* @__PURE__ */ s("dd", { children: t.instead })
      ] })
    ] }),
    e && /* @__PURE__ */ s("button", { type: "button", class: "lsx-button", onClick: e, children: "Try again" })
  ] });
}
function $e({ entry: t, what: e }) {
  const n = D();
  return t ? t.failure ? /* @__PURE__ */ s(an, { failure: t.failure, onRetry: () => n.retry() }) : t.status === "missing" ? /* @__PURE__ */ s("p", { class: "lsx-absent", children: [
    "Not in this recording: ",
    e,
    "."
  ] }) : t.status === "stopped" || t.status === "lost" ? /* @__PURE__ */ s("p", { class: "lsx-absent", children: [
    t.status === "stopped" ? "Stopped" : "No answer",
    ": ",
    e,
    ".",
    " ",
    /* @__PURE__ */ s("button", { type: "button", class: "lsx-button", onClick: () => n.retry(), children: "Ask again" })
  ] }) : null : null;
}
function Ce({ notes: t }) {
  return t?.length ? /* @__PURE__ */ s("ul", { class: "lsx-notes", "aria-label": "Notes", children: t.map((e) => /* @__PURE__ */ s("li", { children: e }, e)) }) : null;
}
function ie(t) {
  const e = De();
  return /* @__PURE__ */ s("span", { class: "lsx-field", children: [
    /* @__PURE__ */ s("label", { for: e, class: t.hideLabel ? "lsx-unseen" : void 0, children: t.label }),
    /* @__PURE__ */ s(
      "select",
      {
        id: e,
        value: t.value,
        disabled: t.disabled,
        "data-testid": t.testid,
        title: t.options.find((n) => n.value === t.value)?.about,
        onChange: (n) => t.onChange(n.currentTarget.value),
        children: t.options.map((n) => /* @__PURE__ */ s("option", { value: n.value, title: n.about, selected: n.value === t.value, children: n.name }, n.value))
      }
    )
  ] });
}
function ne(t) {
  const e = De(), { value: n, low: r, high: i, step: o = 1 } = t, [l, a] = re(n === null ? "" : String(n));
  W(() => {
    n === null ? a("") : (Number(l) !== n || !l.trim()) && a(String(n));
  }, [n]);
  const u = (d, c) => {
    if (a(d), !d.trim()) {
      t.onEmpty?.();
      return;
    }
    const p = Number(d);
    if (!Number.isFinite(p)) return;
    const f = F(o === 1 ? Math.round(p) : p, r, i);
    (f === p || c) && (f !== n && t.onChange(f), c && a(String(f)));
  };
  return /* @__PURE__ */ s("span", { class: "lsx-field", children: [
    /* @__PURE__ */ s("label", { for: e, class: t.hideLabel ? "lsx-unseen" : void 0, children: t.label }),
    t.slider && /* @__PURE__ */ s(
      "input",
      {
        type: "range",
        "aria-label": `${t.label}, slider`,
        min: r,
        max: i,
        step: o,
        value: F(n ?? r, r, i),
        disabled: t.disabled,
        onInput: (d) => u(d.currentTarget.value, !1)
      }
    ),
    /* @__PURE__ */ s(
      "input",
      {
        id: e,
        type: "number",
        min: r,
        max: i,
        step: o,
        value: l,
        placeholder: t.empty,
        disabled: t.disabled,
        "data-testid": t.testid,
        onInput: (d) => u(d.currentTarget.value, !1),
        onBlur: (d) => {
          d.currentTarget.value.trim() ? u(d.currentTarget.value, !0) : t.onEmpty || a(String(n ?? ""));
        }
      }
    )
  ] });
}
function Ct(t) {
  return /* @__PURE__ */ s(
    "button",
    {
      type: "button",
      class: "lsx-button lsx-toggle",
      "aria-pressed": t.pressed,
      "aria-label": t.label,
      disabled: t.disabled,
      title: t.title,
      "data-testid": t.testid,
      onClick: () => t.onChange(!t.pressed),
      children: t.children
    }
  );
}
const xt = [
  { id: "grid", name: "Grid" },
  { id: "patch", name: "Patch" },
  { id: "matters", name: "Where it matters" },
  { id: "step", name: "Step" }
], so = [
  { value: "auto", name: "Auto" },
  { value: "light", name: "Light" },
  { value: "dark", name: "Dark" }
];
function ro() {
  const t = D(), e = t.state.value, { model: n } = t.about.value, { page: r, exportPage: i } = t.transport.value, o = Z(null);
  return /* @__PURE__ */ s("header", { class: "lsx-header", children: [
    /* @__PURE__ */ s("div", { class: "lsx-brand", children: [
      /* @__PURE__ */ s("h1", { children: "lensscope" }),
      /* @__PURE__ */ s("span", { class: "lsx-model", title: `${n.name}
${n.n_layers} layers of width ${n.d_model}, ${n.dtype}
${n.processing}
fingerprint ${n.fingerprint}`, children: n.name })
    ] }),
    /* @__PURE__ */ s("nav", { class: "lsx-nav", "aria-label": "Views", children: xt.map((l) => /* @__PURE__ */ s("button", { type: "button", "aria-current": e.view === l.id ? "page" : void 0, onClick: () => t.set({ view: l.id }), children: l.name }, l.id)) }),
    /* @__PURE__ */ s(io, {}),
    /* @__PURE__ */ s("div", { class: "lsx-tools", role: "group", "aria-label": "Tools", children: [
      /* @__PURE__ */ s("div", { class: "lsx-quiet-tools", children: [
        r && location.protocol !== "file:" && /* @__PURE__ */ s("button", { type: "button", class: "lsx-button", "data-testid": "copy-link", onClick: () => void Es(t), children: "Copy link" }),
        /* @__PURE__ */ s("button", { type: "button", class: "lsx-button", "data-testid": "copy-python", onClick: () => Ls(t), children: "Copy as Python" }),
        /* @__PURE__ */ s("button", { type: "button", class: "lsx-button", "data-testid": "save", onClick: () => Ps(t), children: "Save" }),
        /* @__PURE__ */ s("button", { type: "button", class: "lsx-button", "data-testid": "open", onClick: () => o.current?.click(), children: "Open" }),
        /* @__PURE__ */ s(
          "input",
          {
            ref: o,
            type: "file",
            accept: ".json,application/json",
            class: "lsx-unseen",
            tabIndex: -1,
            "aria-label": "File to open",
            onChange: (l) => {
              const [a] = l.currentTarget.files ?? [];
              l.currentTarget.value = "", a && Yr(t, a);
            }
          }
        ),
        i && /* @__PURE__ */ s("button", { type: "button", class: "lsx-button", "data-testid": "export", onClick: () => void Qr(t), children: "Export page" })
      ] }),
      /* @__PURE__ */ s(Ct, { pressed: e.presenter, testid: "presenter", title: "Larger, with more contrast", onChange: (l) => t.set({ presenter: l }), children: "Presenter" }),
      /* @__PURE__ */ s(ie, { label: "Theme", hideLabel: !0, testid: "theme", value: e.theme, options: so, onChange: (l) => t.set({ theme: l }) }),
      /* @__PURE__ */ s("button", { type: "button", class: "lsx-button", "aria-label": "Keys", title: "Keys", onClick: () => t.dialog.value = "keys", children: "?" })
    ] })
  ] });
}
const oo = {
  grid: "Reading the grid",
  cell: "Reading the lenses",
  words: "Asking for words",
  step: "Stepping",
  patch: "Patching",
  matters: "Running effects",
  circuit: "Looking for a circuit",
  tokens: "Splitting into tokens"
};
function io() {
  const t = D(), e = t.asker.busy.value, n = e.find((o) => o.progress) ?? e[0], r = n?.progress, i = r?.total ? r.done / r.total : null;
  return /* @__PURE__ */ s("div", { class: `lsx-progress${n ? "" : " lsx-still"}`, children: [
    /* @__PURE__ */ s("span", { role: "status", class: "lsx-progress-text", children: [
      n && (r?.what || oo[n.question.kind]),
      n && r?.total ? /* @__PURE__ */ s("span", { class: "lsx-muted", children: [
        " ",
        r.done,
        "/",
        r.total
      ] }) : null
    ] }),
    n && /* @__PURE__ */ s("button", { type: "button", class: "lsx-button", "data-testid": "stop", onClick: () => t.asker.stopAll(), children: "Stop" }),
    /* @__PURE__ */ s("span", { class: "lsx-progress-bar", "aria-hidden": "true", children: n && /* @__PURE__ */ s("span", { class: i === null ? "lsx-unknown" : void 0, style: { width: i === null ? "30%" : `${i * 100}%` } }) })
  ] });
}
const lo = /[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202f\u205f-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb]|[\u{e0000}-\u{e0fff}]/u, ao = /\p{Extended_Pictographic}|\p{Regional_Indicator}/u, co = /^\p{M}/u, kn = typeof Intl < "u" && "Segmenter" in Intl ? new Intl.Segmenter(void 0, { granularity: "grapheme" }) : null;
function Os(t) {
  return kn ? Array.from(kn.segment(t), (e) => e.segment) : [...t];
}
function uo(t) {
  const e = t.codePointAt(0) ?? 0;
  return t === `
` ? "⏎" : t === "	" ? "⇥" : e < 32 ? String.fromCharCode(9216 + e) : e === 127 ? "␡" : e >= 128 && e < 160 || e >= 55296 && e < 57344 || lo.test(t) ? "U+" + e.toString(16).toUpperCase().padStart(4, "0") : null;
}
function $n(t) {
  return t <= 3 ? "·".repeat(t) : `·×${t}`;
}
function Rs(t) {
  const e = [], n = (o, l) => {
    const a = e[e.length - 1];
    a && a.sign === l ? a.text += o : e.push({ text: o, sign: l });
  }, r = /^ */.exec(t)?.[0].length ?? 0, i = r === t.length ? 0 : / *$/.exec(t)?.[0].length ?? 0;
  r && n($n(r), !0);
  for (const o of Os(t.slice(r, t.length - i))) {
    if (o.length > 1 && ao.test(o)) {
      n(o, !1);
      continue;
    }
    for (const l of o) {
      const a = uo(l);
      a ? n(a, !0) : n(co.test(l) && o === l ? "◌" + l : l, !1);
    }
  }
  return i && n($n(i), !0), e.length ? e : [{ text: "∅", sign: !0 }];
}
function Q(t) {
  return Rs(t).map((e) => e.text).join("");
}
function Oe(t) {
  const e = t.trim();
  return Q(e || t);
}
function St(t, e) {
  const n = Os(t);
  return n.length > e ? n.slice(0, e - 1).join("") + "…" : t;
}
function ho(t, e) {
  return Cn(t) === Cn(e);
}
function Cn(t) {
  const e = t.normalize("NFKC").toLowerCase().replace(/\s+/gu, " ").trim();
  return e.replace(/^[\p{P}\s]+|[\p{P}\s]+$/gu, "") || e;
}
function po(t, e) {
  const n = t.match(/\s*\S+|\s+$/gu) ?? [], r = e.match(/\s*\S+|\s+$/gu) ?? [], i = Array.from({ length: n.length + 1 }, () => new Array(r.length + 1).fill(0));
  for (let c = n.length - 1; c >= 0; c--)
    for (let p = r.length - 1; p >= 0; p--)
      i[c][p] = n[c] === r[p] ? i[c + 1][p + 1] + 1 : Math.max(i[c + 1][p], i[c][p + 1]);
  const o = [], l = [], a = (c, p, f) => {
    const h = c[c.length - 1];
    h && h.changed === f ? h.text += p : c.push({ text: p, changed: f });
  };
  let u = 0, d = 0;
  for (; u < n.length || d < r.length; )
    u < n.length && d < r.length && n[u] === r[d] ? (a(o, n[u++], !1), a(l, r[d++], !1)) : d >= r.length || u < n.length && i[u + 1][d] >= i[u][d + 1] ? a(o, n[u++], !0) : a(l, r[d++], !0);
  return [o, l];
}
function Se(t) {
  return St(typeof t == "string" ? t : t.map(({ content: e }) => e).join(" / "), 48);
}
function fo(t) {
  switch (t.kind) {
    case "tokens":
      return null;
    case "grid":
      return { view: "grid", prompt: t.prompt, lens: t.lens, cell: null };
    case "cell":
      return { view: "grid", prompt: t.prompt, cell: { layer: t.layer, position: t.position } };
    case "words":
      return { view: "grid", prompt: t.prompt, inspection: t.inspection, cell: { layer: t.layer, position: t.position } };
    case "step":
      return {
        view: "step",
        prompt: t.prompt,
        inspection: t.inspection,
        reader: t.reader,
        step: 0,
        cell: { layer: t.layer, position: t.position }
      };
    case "patch":
      return { view: "patch", prompts: t.prompts, patches: t.patches, new_tokens: t.max_new_tokens };
    case "matters":
      return { view: "matters", circuit: !1, clean: t.clean, corrupted: t.corrupted, answer: t.answer, wrong: t.wrong, site: t.site };
    case "circuit":
      return { view: "matters", circuit: !0, clean: t.clean, corrupted: t.corrupted, answer: t.answer, wrong: t.wrong, threshold: t.threshold };
  }
}
function Sn(t) {
  switch (t.kind) {
    case "grid":
      return `Grid, ${t.lens}: ${Se(t.prompt)}`;
    case "cell":
    case "words":
      return `Layer ${t.layer}, token ${t.position}: ${Se(t.prompt)}`;
    case "step":
      return `Step, layer ${t.layer}, token ${t.position}, ${t.reader}: ${Se(t.prompt)}`;
    case "patch":
      return `${t.patches.length === 1 ? "Patch" : `${t.patches.length} patches`}: ${Se(t.prompts[0])} / ${Se(t.prompts[1])}`;
    case "matters":
      return `Where it matters, ${t.site}: ${Se(t.clean)}`;
    case "circuit":
      return `Circuit above ${t.threshold}: ${Se(t.clean)}`;
    case "tokens":
      return "";
  }
}
const mo = [
  ["Grids", ["grid"]],
  ["States in words", ["words"]],
  ["States, lenses only", ["cell"]],
  ["Patches", ["patch"]],
  ["Where it matters", ["matters", "circuit"]],
  ["Steps", ["step"]]
];
function _o() {
  const t = D(), e = t.about.value;
  if (!t.recording.value) return null;
  const n = t.asker.known().map(({ question: l }) => l), r = new Set(n.flatMap((l) => l.kind === "words" ? [se([l.prompt, l.layer, l.position])] : [])), i = n.filter((l) => l.kind !== "cell" || !r.has(se([l.prompt, l.layer, l.position]))), o = ws(t.state.value)[0];
  return /* @__PURE__ */ s("div", { class: "lsx-recording", role: "region", "aria-label": "Recording", children: [
    /* @__PURE__ */ s("p", { children: [
      "A recording of ",
      /* @__PURE__ */ s("strong", { children: e.model.name }),
      e.libraries.lensscope ? `, made with lensscope ${e.libraries.lensscope}` : "",
      ": nothing new can be asked."
    ] }),
    /* @__PURE__ */ s("label", { class: "lsx-contents", children: [
      /* @__PURE__ */ s("span", { children: "In it" }),
      /* @__PURE__ */ s(
        "select",
        {
          value: "",
          onChange: (l) => {
            const a = i[Number(l.currentTarget.value)], u = a && fo(a);
            u && t.set(u), l.currentTarget.value = "";
          },
          children: [
            /* @__PURE__ */ s("option", { value: "", children: o && t.asker.has(o) ? Sn(o) : "Go to…" }),
            mo.map(([l, a]) => {
              const u = i.map((d, c) => ({ question: d, index: c })).filter(({ question: d }) => a.includes(d.kind));
              return u.length > 0 && /* @__PURE__ */ s("optgroup", { label: l, children: u.map(({ question: d, index: c }) => /* @__PURE__ */ s("option", { value: c, children: Sn(d) }, c)) }, l);
            })
          ]
        }
      )
    ] }),
    t.liveBefore.value && /* @__PURE__ */ s("button", { type: "button", class: "lsx-button", onClick: () => t.backToLive(), children: t.liveBefore.value.transport.live ? "Back to the live model" : "Back to the first recording" })
  ] });
}
function ee({ text: t }) {
  return /* @__PURE__ */ s("bdi", { class: "lsx-token", dir: "auto", children: Rs(t).map(
    (e, n) => e.sign ? /* @__PURE__ */ s("span", { class: "lsx-sign", "aria-hidden": "true", children: e.text }, n) : e.text
  ) });
}
function go(t) {
  if (!t.some((r) => r.role)) return [];
  const e = [];
  let n;
  return t.forEach((r, i) => {
    const o = r.message ?? null, l = e[e.length - 1];
    l && n === o ? l.to = i + 1 : e.push({ label: r.role ?? (o === null ? "template" : ""), from: i, to: i + 1 }), n = o;
  }), e;
}
const Kt = 22;
function yo({ tokens: t, groups: e, from: n, to: r, size: i, current: o, head: l }) {
  const a = e.length ? Kt : 0, u = [];
  for (let d = n; d < r; d++) {
    const c = t[d];
    if (!c) continue;
    const p = c.special || e.length > 0 && (c.message ?? null) === null;
    u.push(
      /* @__PURE__ */ s(
        "div",
        {
          role: "columnheader",
          class: `lsx-head${d === o ? " lsx-current" : ""}${p ? " lsx-special" : ""}`,
          "aria-colindex": d + 2,
          title: `token ${d} “${Q(c.text)}”`,
          style: {
            left: `${i.side + d * i.width}px`,
            width: `${i.width}px`,
            top: `${a}px`,
            height: `${i.head}px`
          },
          children: l ? l(d) : /* @__PURE__ */ s(U, { children: [
            /* @__PURE__ */ s("span", { class: "lsx-index", children: d }),
            /* @__PURE__ */ s(ee, { text: c.text })
          ] })
        },
        d
      )
    );
  }
  return /* @__PURE__ */ s("div", { role: "row", "aria-rowindex": 1, class: "lsx-heads", style: { height: `${a + i.head}px` }, children: [
    /* @__PURE__ */ s("div", { role: "columnheader", class: "lsx-corner", "aria-colindex": 1, style: { width: `${i.side}px` }, children: "layer" }),
    e.filter((d) => d.to > n && d.from < r).map((d) => /* @__PURE__ */ s(
      "div",
      {
        class: d.label === "template" ? "lsx-group lsx-template" : "lsx-group",
        "aria-hidden": "true",
        style: {
          left: `${i.side + d.from * i.width}px`,
          width: `${(d.to - d.from) * i.width}px`,
          height: `${Kt}px`
        },
        children: /* @__PURE__ */ s("span", { style: { left: `${i.side}px` }, children: d.label })
      },
      `group ${d.from}`
    )),
    u
  ] });
}
class bo extends Le {
  shouldComponentUpdate(e) {
    return Object.keys(e).some((n) => e[n] !== this.props[n]);
  }
  render() {
    const { layer: e, index: n, from: r, to: i, look: o, size: l, head: a, active: u, selected: d, current: c, label: p, side: f } = this.props, h = [];
    u !== null && u < r && h.push(u);
    for (let m = r; m < i; m++) h.push(m);
    return u !== null && u >= i && h.push(u), /* @__PURE__ */ s(
      "div",
      {
        role: "row",
        class: "lsx-row",
        "aria-rowindex": n + 2,
        style: { transform: `translateY(${a + n * l.height}px)`, height: `${l.height}px` },
        children: [
          /* @__PURE__ */ s(
            "div",
            {
              role: "rowheader",
              class: c ? "lsx-side lsx-current" : "lsx-side",
              "aria-colindex": 1,
              "data-side": e,
              style: { width: `${l.side}px` },
              children: f ? f(e) : e
            }
          ),
          h.map((m) => {
            const b = o(e, m);
            return /* @__PURE__ */ s(
              "div",
              {
                role: "gridcell",
                class: `lsx-cell${b ? "" : " lsx-pending"}${b?.class ? " " + b.class : ""}`,
                "aria-colindex": m + 2,
                "aria-selected": d === m,
                "aria-label": b ? b.name : `${p(e, m)}: not yet known`,
                title: b && !b.plain ? b.name : void 0,
                tabIndex: u === m ? 0 : -1,
                "data-layer": e,
                "data-position": m,
                "data-testid": `cell-${e}-${m}`,
                style: {
                  left: `${l.side + m * l.width}px`,
                  width: `${l.width}px`,
                  backgroundColor: b?.background ?? "",
                  color: b?.color ?? ""
                },
                children: b && (b.plain ? b.text : /* @__PURE__ */ s(ee, { text: b.text }))
              },
              m
            );
          })
        ]
      }
    );
  }
}
const et = 2;
function cn(t, e, n) {
  return `layer ${t}, token ${e} "${Oe(n ?? "")}"`;
}
function un(t) {
  const { tokens: e, layers: n, look: r, selected: i, size: o } = t, l = Z(null), [a, u] = re({ top: 0, bottom: 40, left: 0, right: 24 }), [d, c] = re(() => i ?? { layer: n[0] ?? 0, position: 0 }), p = Z(!1), f = z(() => go(e), [e]), h = o.head + (f.length ? Kt : 0), m = ln(t), b = (_) => F(n.indexOf(_), 0, n.length - 1), x = {
    layer: n.includes(d.layer) ? d.layer : n[0] ?? 0,
    position: F(d.position, 0, Math.max(0, e.length - 1))
  }, T = () => {
    const _ = l.current;
    if (!_) return;
    const { size: $ } = m.current, I = {
      top: Math.max(0, Math.floor(_.scrollTop / $.height) - et),
      bottom: Math.ceil((_.scrollTop + _.clientHeight - h) / $.height) + et,
      left: Math.max(0, Math.floor(_.scrollLeft / $.width) - et),
      right: Math.ceil((_.scrollLeft + _.clientWidth - $.side) / $.width) + et
    };
    u(
      (G) => G.top === I.top && G.bottom === I.bottom && G.left === I.left && G.right === I.right ? G : I
    );
  }, g = (_) => ({
    x: o.side + _.position * o.width,
    y: h + b(_.layer) * o.height
  }), C = (_) => {
    const $ = l.current;
    if (!$) return;
    const { x: I, y: G } = g(_);
    G - h < $.scrollTop ? $.scrollTop = G - h : G + o.height > $.scrollTop + $.clientHeight && ($.scrollTop = G + o.height - $.clientHeight), I - o.side < $.scrollLeft ? $.scrollLeft = I - o.side : I + o.width > $.scrollLeft + $.clientWidth && ($.scrollLeft = I + o.width - $.clientWidth);
  };
  It(T, [o, e.length, n.length]), W(() => {
    const _ = l.current;
    if (!_ || typeof ResizeObserver > "u") return;
    const $ = new ResizeObserver(() => {
      T(), m.current.onScroll?.();
    });
    return $.observe(_), () => $.disconnect();
  }, []), W(() => {
    i && (c(i), C(i));
  }, [i?.layer, i?.position, e, n]), It(() => {
    p.current && (p.current = !1, C(x), l.current?.querySelector(`[data-layer="${x.layer}"][data-position="${x.position}"]`)?.focus({ preventScroll: !0 }));
  }, [x.layer, x.position]), W(() => {
    const _ = l.current;
    if (!(!_ || !t.handle))
      return t.handle({
        scroller: _,
        focus: ($) => {
          p.current = !0, c({ ...$ });
        },
        box: ($) => {
          const I = _.getBoundingClientRect(), { x: G, y: fe } = g($);
          return { x: I.left + G - _.scrollLeft, y: I.top + fe - _.scrollTop, width: o.width, height: o.height };
        },
        port: () => {
          const $ = _.getBoundingClientRect();
          return {
            x: $.left + o.side,
            y: $.top + h,
            width: _.clientWidth - o.side,
            height: _.clientHeight - h
          };
        }
      }), () => t.handle?.(null);
  }, [o, h, n]);
  const v = (_) => {
    p.current = !0, c(_), t.onMove?.(_);
  }, w = (_) => {
    if (_.target.getAttribute("role") !== "gridcell") return;
    if (t.onKey?.(_, x)) return _.preventDefault();
    if (_.altKey || _.metaKey) return;
    const $ = b(x.layer), I = n.length - 1, G = e.length - 1, fe = Math.max(1, Math.floor(((l.current?.clientHeight ?? 0) - h) / o.height) - 1), me = (qs, er) => {
      _.preventDefault(), v({ layer: n[F(qs, 0, I)] ?? 0, position: F(er, 0, G) });
    };
    switch (_.key) {
      case "ArrowUp":
        return me($ - 1, x.position);
      case "ArrowDown":
        return me($ + 1, x.position);
      case "ArrowLeft":
        return me($, x.position - 1);
      case "ArrowRight":
        return me($, x.position + 1);
      case "PageUp":
        return me($ - fe, x.position);
      case "PageDown":
        return me($ + fe, x.position);
      case "Home":
        return me(_.ctrlKey ? 0 : $, 0);
      case "End":
        return me(_.ctrlKey ? I : $, G);
      case "Enter":
      case " ":
        _.preventDefault(), t.onSelect?.(x, "enter");
    }
  }, L = F(a.top, 0, n.length), S = F(a.bottom, L, n.length), k = F(a.left, 0, e.length), E = F(a.right, k, e.length), y = n.slice(L, S).map((_, $) => ({ layer: _, index: L + $ })), P = b(x.layer);
  n.length && (P < L || P >= S) && y.push({ layer: x.layer, index: P });
  const N = z(() => (_, $) => cn(_, $, e[$]?.text), [e]);
  return /* @__PURE__ */ s(
    "div",
    {
      ref: l,
      role: "grid",
      class: `lsx-grid${t.dim ? " lsx-dim" : ""}`,
      "aria-label": t.label,
      "aria-rowcount": n.length + 1,
      "aria-colcount": e.length + 1,
      "aria-busy": t.busy ?? !1,
      "data-testid": t.testid,
      onScroll: () => {
        T(), t.onScroll?.();
      },
      onKeyDown: w,
      onFocusIn: (_) => {
        const $ = Ue(_.target);
        $ && ($.layer !== x.layer || $.position !== x.position) && c($), $ && t.onHover?.($);
      },
      onClick: (_) => {
        const $ = Ue(_.target);
        if ($) {
          c($), t.onSelect?.($, "pointer");
          return;
        }
        const I = _.target.closest("[data-side]");
        I && !_.target.closest("button") && t.onRowHead?.(Number(I.dataset.side), _);
      },
      onPointerDown: (_) => {
        const $ = t.onGrab && Ue(_.target);
        $ && t.onGrab?.(_, $);
      },
      onPointerOver: (_) => t.onHover && _.pointerType === "mouse" && t.onHover(Ue(_.target)),
      onPointerLeave: () => t.onHover?.(null),
      children: /* @__PURE__ */ s(
        "div",
        {
          role: "presentation",
          class: "lsx-sheet",
          style: {
            width: `${o.side + e.length * o.width}px`,
            height: `${h + n.length * o.height}px`
          },
          children: [
            /* @__PURE__ */ s(
              yo,
              {
                tokens: e,
                groups: f,
                from: k,
                to: E,
                size: o,
                current: i?.position ?? null,
                head: t.head
              }
            ),
            y.map(({ layer: _, index: $ }) => /* @__PURE__ */ s(
              bo,
              {
                layer: _,
                index: $,
                from: k,
                to: E,
                look: r,
                size: o,
                head: h,
                active: _ === x.layer ? x.position : null,
                selected: i?.layer === _ ? i.position : null,
                current: i?.layer === _,
                label: N,
                side: t.side
              },
              _
            ))
          ]
        }
      )
    }
  );
}
function Ue(t) {
  const e = t instanceof Element ? t.closest("[data-position]") : null;
  return e ? { layer: Number(e.dataset.layer), position: Number(e.dataset.position) } : null;
}
const vo = ["system", "user", "assistant"];
function Tn(t) {
  const e = Z(null);
  return It(() => {
    const n = e.current;
    n && (n.style.height = "auto", n.style.height = `${Math.min(n.scrollHeight + 2, 260)}px`);
  }, [t.value]), /* @__PURE__ */ s(
    "textarea",
    {
      ref: e,
      id: t.id,
      rows: 1,
      dir: "auto",
      spellcheck: !1,
      autocomplete: "off",
      "aria-label": t.label,
      "aria-invalid": t.invalid ?? !1,
      "aria-describedby": t.describedBy,
      "data-testid": t.testid,
      placeholder: t.placeholder,
      value: t.value,
      onInput: (n) => t.onInput(n.currentTarget.value),
      onKeyDown: (n) => {
        n.key !== "Enter" || n.shiftKey || n.isComposing || !t.onReturn || (n.preventDefault(), t.onReturn());
      }
    }
  );
}
function Mn(t) {
  return typeof t == "string" ? t : t.find(({ role: e }) => e === "user")?.content ?? t[0]?.content ?? "";
}
function Ds({ value: t, label: e, onChange: n, onReturn: r, testid: i, invalid: o, describedBy: l }) {
  if (typeof t == "string")
    return /* @__PURE__ */ s(Tn, { label: e, value: t, onInput: n, onReturn: r, testid: i, invalid: o, describedBy: l });
  const a = (u, d) => n(t.map((c, p) => p === u ? { ...c, ...d } : c));
  return /* @__PURE__ */ s("div", { class: "lsx-messages", role: "group", "aria-label": e, "data-testid": i, children: [
    t.map((u, d) => /* @__PURE__ */ s("div", { class: "lsx-message", children: [
      /* @__PURE__ */ s(
        "select",
        {
          "aria-label": `Role of message ${d + 1}`,
          value: u.role,
          onChange: (c) => a(d, { role: c.currentTarget.value }),
          children: [.../* @__PURE__ */ new Set([...vo, u.role])].map((c) => /* @__PURE__ */ s("option", { value: c, selected: c === u.role, children: c }, c))
        }
      ),
      /* @__PURE__ */ s(
        Tn,
        {
          label: `Message ${d + 1}`,
          value: u.content,
          onInput: (c) => a(d, { content: c }),
          onReturn: r,
          invalid: o
        }
      ),
      /* @__PURE__ */ s(
        "button",
        {
          type: "button",
          class: "lsx-button lsx-icon",
          "aria-label": `Remove message ${d + 1}`,
          disabled: t.length < 2,
          onClick: () => n(t.filter((c, p) => p !== d)),
          children: "×"
        }
      )
    ] }, d)),
    /* @__PURE__ */ s(
      "button",
      {
        type: "button",
        class: "lsx-button",
        onClick: () => n([...t, { role: t[t.length - 1]?.role === "user" ? "assistant" : "user", content: "" }]),
        children: "Add a message"
      }
    )
  ] });
}
function Is({ value: t, onChange: e }) {
  const { model: n } = D().about.value, r = typeof t != "string";
  return /* @__PURE__ */ s(
    Ct,
    {
      pressed: r,
      disabled: !n.chat && !r,
      title: n.chat ? "A conversation, by the model's chat template" : "This model has no chat template",
      onChange: () => e(r ? Mn(t) : [{ role: "user", content: Mn(t) }]),
      children: "Chat"
    }
  );
}
function Xe({ value: t, label: e, onRun: n, testid: r = "prompt-box", onDraft: i, bare: o }) {
  const l = D(), [a, u] = re(t), d = De(), c = se(t);
  W(() => u(t), [c]);
  const p = (m) => {
    u(m), i?.(m);
  }, f = () => {
    n(a), l.again.value += 1;
  }, h = se(a) !== c;
  return /* @__PURE__ */ s("div", { class: "lsx-prompt", role: "group", "aria-labelledby": d, children: [
    /* @__PURE__ */ s("span", { class: "lsx-label", id: d, children: e }),
    /* @__PURE__ */ s(Ds, { value: a, label: e, onChange: p, onReturn: f, testid: r }),
    /* @__PURE__ */ s("span", { class: "lsx-prompt-buttons", children: [
      /* @__PURE__ */ s(Is, { value: a, onChange: p }),
      !o && /* @__PURE__ */ s("button", { type: "button", class: `lsx-button${h ? " lsx-primary" : ""}`, "data-testid": r === "prompt-box" ? "run" : void 0, onClick: f, children: [
        "Run ",
        /* @__PURE__ */ s("kbd", { "aria-hidden": "true", children: "↵" })
      ] })
    ] })
  ] });
}
const xo = 500;
function js({ open: t = !1 }) {
  const e = D(), { presets: n, limits: r, model: i } = e.about.value, { inspection: o } = e.state.value, [l, a] = re(o), [u, d] = re(o.preset || (n[0]?.id ?? "")), c = De(), p = se(o);
  W(() => {
    a(o), o.preset && d(o.preset);
  }, [p]);
  const f = { kind: "tokens", prompt: l.text, placeholder: l.placeholder || null }, { entry: h, shown: m } = ae("tokens:inspection", f, {
    debounce: 120,
    useful: (k) => !!k.tokens
  }), b = m?.answer.tokens ?? [], x = new Set(m?.answer.placeholders ?? []), T = h?.status === "done" && !h.answer.placeholders?.length, g = h?.status === "done" && !T;
  W(() => {
    if (!g || se(l) === p) return;
    const k = setTimeout(() => e.set({ inspection: l }), xo);
    return () => clearTimeout(k);
  }, [g, se(l), p]);
  const C = (k) => a({ ...l, preset: "", ...k }), v = (k) => {
    const E = { ...l, ...k };
    a(E), g && e.set({ inspection: E });
  }, w = (k) => {
    const E = n.find((y) => y.id === k);
    E && e.set({ inspection: { ...E.inspection, preset: E.id } });
  }, L = n.find((k) => k.id === u), S = l.target === "same";
  return /* @__PURE__ */ s("details", { class: "lsx-inspection", open: t, children: [
    /* @__PURE__ */ s("summary", { children: [
      /* @__PURE__ */ s("h3", { children: "Inspection prompt" }),
      /* @__PURE__ */ s("span", { class: "lsx-muted lsx-summary-text", children: [
        n.find((k) => k.id === l.preset)?.name ?? "edited",
        ", ",
        S ? "written at the layer it is read from" : `written into block ${l.target}`,
        ", ",
        l.max_new_tokens,
        " new tokens"
      ] })
    ] }),
    /* @__PURE__ */ s("div", { class: "lsx-inspection-body", children: [
      /* @__PURE__ */ s("div", { class: "lsx-line", children: [
        /* @__PURE__ */ s(
          ie,
          {
            label: "Preset",
            value: l.preset,
            options: [
              ...l.preset ? [] : [{ value: "", name: "(edited)" }],
              ...n.map((k) => ({ value: k.id, name: k.name }))
            ],
            onChange: w
          }
        ),
        /* @__PURE__ */ s(Is, { value: l.text, onChange: (k) => C({ text: k }) }),
        !l.preset && L && /* @__PURE__ */ s("button", { type: "button", class: "lsx-button", onClick: () => w(L.id), children: [
          "Reset to “",
          L.name,
          "”"
        ] })
      ] }),
      /* @__PURE__ */ s("div", { class: "lsx-line lsx-grow", children: [
        /* @__PURE__ */ s(
          Ds,
          {
            label: "Inspection prompt",
            value: l.text,
            testid: "inspection-text",
            invalid: T || !!h?.failure,
            describedBy: `${c}-tokens`,
            onChange: (k) => C({ text: k })
          }
        ),
        /* @__PURE__ */ s("span", { class: "lsx-field", children: [
          /* @__PURE__ */ s("label", { for: `${c}-placeholder`, children: "Placeholder" }),
          /* @__PURE__ */ s(
            "input",
            {
              id: `${c}-placeholder`,
              type: "text",
              class: "lsx-short",
              value: l.placeholder,
              maxLength: 100,
              spellcheck: !1,
              autocomplete: "off",
              onInput: (k) => C({ placeholder: k.currentTarget.value })
            }
          )
        ] })
      ] }),
      /* @__PURE__ */ s("div", { id: `${c}-tokens`, children: [
        /* @__PURE__ */ s("p", { class: "lsx-tokens", "data-testid": "inspection-tokens", children: b.map((k, E) => /* @__PURE__ */ s(
          "span",
          {
            class: `lsx-chip${x.has(E) ? " lsx-written" : ""}${k.special ? " lsx-special" : ""}`,
            title: x.has(E) ? "The state is written here" : void 0,
            children: [
              /* @__PURE__ */ s(ee, { text: k.text }),
              x.has(E) && /* @__PURE__ */ s("span", { class: "lsx-unseen", children: " (placeholder)" })
            ]
          },
          E
        )) }),
        T && /* @__PURE__ */ s("p", { class: "lsx-inline-error", role: "alert", children: [
          "The placeholder “",
          l.placeholder,
          "” is not a token of this text: there is nowhere to write the state."
        ] }),
        h?.failure && /* @__PURE__ */ s(an, { failure: h.failure })
      ] }),
      /* @__PURE__ */ s("div", { class: "lsx-line", children: [
        /* @__PURE__ */ s("fieldset", { class: "lsx-fieldset", children: [
          /* @__PURE__ */ s("legend", { children: "Written" }),
          /* @__PURE__ */ s("label", { class: "lsx-check", children: [
            /* @__PURE__ */ s("input", { type: "checkbox", checked: S, onChange: () => C({ target: S ? Math.min(1, i.n_layers - 1) : "same" }) }),
            "at the layer it is read from"
          ] }),
          /* @__PURE__ */ s(
            ne,
            {
              label: "into the input of block",
              slider: !0,
              value: l.target === "same" ? null : l.target,
              low: 0,
              high: i.n_layers - 1,
              disabled: S,
              onChange: (k) => C({ target: k })
            }
          )
        ] }),
        /* @__PURE__ */ s("fieldset", { class: "lsx-fieldset", children: [
          /* @__PURE__ */ s("legend", { children: "Said" }),
          /* @__PURE__ */ s(ne, { label: "New tokens", value: l.max_new_tokens, low: 1, high: Math.min(60, r.max_new_tokens), onChange: (k) => v({ max_new_tokens: k }) }),
          /* @__PURE__ */ s(ne, { label: "Temperature", value: l.temperature, low: 0, high: 2, step: 0.1, onChange: (k) => v({ temperature: k }) }),
          /* @__PURE__ */ s(
            ne,
            {
              label: "Top p",
              value: l.top_p,
              low: 0.01,
              high: 1,
              step: 0.01,
              empty: "all",
              disabled: l.temperature === 0,
              onChange: (k) => v({ top_p: k }),
              onEmpty: () => v({ top_p: null })
            }
          ),
          /* @__PURE__ */ s(ne, { label: "Seed", value: l.seed, low: 0, high: 2 ** 31 - 1, disabled: l.temperature === 0, onChange: (k) => v({ seed: k }) })
        ] })
      ] })
    ] })
  ] });
}
const Hs = {
  probability: ["#ffffff", "#dbe9f6", "#a6cbe9", "#5d9dd2", "#24659f", "#0d3f73"],
  entropy: ["#ffffff", "#fbe8cf", "#f5c98f", "#e39a4b", "#b26414", "#7a3d00"],
  kl: ["#ffffff", "#ece3f4", "#cfbbe3", "#a583c8", "#7648a3", "#4c2178"],
  effect: ["#8f3f00", "#c96a14", "#eca35e", "#f9dcbc", "#ffffff", "#cfe2f3", "#86b6de", "#3478b8", "#0f4680"]
}, Us = {
  probability: ["#17191d", "#182c40", "#1b4670", "#2569a8", "#4f98d8", "#a9d6fb"],
  entropy: ["#17191d", "#33260f", "#5b3c10", "#915b12", "#cc8a36", "#fbd49a"],
  kl: ["#17191d", "#2a2140", "#45316b", "#66499c", "#9877cf", "#d9c6f8"],
  effect: ["#ffb873", "#d8853a", "#9a5716", "#4a2f14", "#17191d", "#16324d", "#1f5a90", "#4491d3", "#a4d4fb"]
}, zt = 96;
function wo(t) {
  const e = parseInt(t.slice(1), 16);
  return [e >> 16, e >> 8 & 255, e & 255];
}
function ko(t) {
  const [e, n, r] = t.map((i) => {
    const o = i / 255;
    return o <= 0.04045 ? o / 12.92 : ((o + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * e + 0.7152 * n + 0.0722 * r;
}
function $o(t) {
  const e = ko(t);
  return (e + 0.05) / 0.05 >= 1.05 / (e + 0.05) ? "#000" : "#fff";
}
const En = /* @__PURE__ */ new Map();
function Co(t, e) {
  const n = t + e;
  let r = En.get(n);
  if (!r) {
    const i = (e ? Us : Hs)[t].map(wo);
    r = Array.from({ length: zt + 1 }, (o, l) => {
      const a = l / zt * (i.length - 1), u = Math.min(Math.floor(a), i.length - 2), d = a - u, c = i[u].map((p, f) => Math.round(p + (i[u + 1][f] - p) * d));
      return { background: `rgb(${c.join(" ")})`, color: $o(c) };
    }), En.set(n, r);
  }
  return r;
}
function Ws(t, e, n) {
  const r = t === "effect" ? (F(e, -1, 1) + 1) / 2 : F(e, 0, 1);
  return Co(t, n)[Math.round((Number.isFinite(r) ? r : 0) * zt)];
}
function Bs(t, e) {
  return `linear-gradient(to right, ${(e ? Us : Hs)[t].join(", ")})`;
}
function So(t, e) {
  if (e === "probability") return { most: 1, clipped: !1 };
  const n = t.flatMap((i) => i[e]);
  if (e === "entropy") return { most: Math.max(Ut(n, 1), 1e-6), clipped: !1 };
  const r = Math.max(Ut(n, 0.95), 1e-6);
  return { most: r, clipped: n.some((i) => i > r) };
}
const Ae = {
  probability: { name: "Probability", low: "0", high: "1", about: "of the lens' first token" },
  entropy: { name: "Entropy", low: "sure", high: "undecided", about: "of the lens' distribution, in nats" },
  kl: { name: "KL from the model", low: "the same", high: "far", about: "from the model's own next token, in nats" }
};
function To(t, e, n) {
  const r = t[n][e] ?? NaN;
  return n === "probability" ? `probability ${r.toFixed(2)}` : `${n === "kl" ? "KL" : "entropy"} ${Je(r)} nats`;
}
const Mo = [];
function Fs(t, e, n, r) {
  const i = t.tokens ?? Mo, o = z(() => [...t.layers ?? []].sort((d, c) => c - d), [t.layers]), l = t.rows, a = z(() => So(l ?? [], e), [l, e]), u = z(() => {
    const d = new Map((l ?? []).map((c) => [c.layer, c]));
    return (c, p) => {
      const f = cn(c, p, i[p]?.text), h = r?.({ layer: c, position: p });
      if (h === "hidden") return { text: "?", plain: !0, name: `${f}: hidden`, class: "lsx-hidden" };
      const m = d.get(c), b = m?.texts[p];
      return !m || b === void 0 ? null : {
        text: b,
        name: `${f}: ${Q(b.trim() || b)}, ${To(m, p, e)}${h === "known" ? ", recorded" : ""}`,
        ...Ws(e, (m[e][p] ?? 0) / a.most, n),
        ...h === "known" || h === "unknown" ? { class: `lsx-${h}` } : {}
      };
    };
  }, [l, i, e, n, a, r]);
  return { tokens: i, layers: o, range: a, look: u };
}
const Eo = {
  wide: { width: 86, height: 26, head: 42, side: 46 },
  compact: { width: 68, height: 24, head: 40, side: 40 }
}, Lo = {
  wide: { width: 124, height: 40, head: 58, side: 62 },
  compact: { width: 96, height: 34, head: 52, side: 54 }
};
function Ks(t) {
  return t ? Lo : Eo;
}
function zs({ colour: t, range: e }) {
  const n = D().dark.value, r = Ae[t], i = t === "probability" ? "1" : `${e.clipped ? "≥ " : ""}${Je(e.most)}`;
  return /* @__PURE__ */ s("p", { class: "lsx-legend", children: [
    /* @__PURE__ */ s("span", { children: [
      r.name,
      " ",
      /* @__PURE__ */ s("span", { class: "lsx-muted", children: r.about })
    ] }),
    /* @__PURE__ */ s("span", { class: "lsx-scale", children: [
      /* @__PURE__ */ s("span", { children: "0" }),
      /* @__PURE__ */ s("span", { class: "lsx-ramp", style: { backgroundImage: Bs(t, n) } }),
      /* @__PURE__ */ s("span", { children: i })
    ] }),
    e.clipped && /* @__PURE__ */ s("span", { class: "lsx-muted", children: "cut at the 95th percentile" })
  ] });
}
const Ln = 4;
function Gs(t) {
  return t.filter((e) => e % Ln === Ln - 1).sort((e, n) => e - n);
}
function Vs(t, e) {
  return { layers: t.layers.includes(e) ? t.layers.filter((r) => r !== e) : [...t.layers, e].sort((r, i) => r - i), shown: t.shown.filter((r) => r !== e) };
}
function Po({ layers: t }) {
  const e = D(), { quiz: n } = e.state.value;
  if (!n) return null;
  const r = n.layers.filter((i) => !n.shown.includes(i)).length;
  return /* @__PURE__ */ s("div", { class: "lsx-quiz", role: "group", "aria-label": "Quiz", children: [
    /* @__PURE__ */ s("p", { children: [
      /* @__PURE__ */ s("strong", { children: "Quiz." }),
      " ",
      r ? `${r} of ${n.layers.length} layers are hidden: decide what they say, then reveal them.` : n.layers.length ? "All layers are revealed." : "No layer is hidden."
    ] }),
    /* @__PURE__ */ s("button", { type: "button", class: "lsx-button", disabled: !r, onClick: () => e.set({ quiz: { ...n, shown: [...n.layers] } }), children: "Reveal all" }),
    /* @__PURE__ */ s("button", { type: "button", class: "lsx-button", disabled: !n.shown.length, onClick: () => e.set({ quiz: { ...n, shown: [] } }), children: "Hide again" }),
    /* @__PURE__ */ s("details", { class: "lsx-pick", children: [
      /* @__PURE__ */ s("summary", { children: "Hidden layers" }),
      /* @__PURE__ */ s("div", { class: "lsx-checks", children: [...t].sort((i, o) => i - o).map((i) => /* @__PURE__ */ s("label", { class: "lsx-check", children: [
        /* @__PURE__ */ s("input", { type: "checkbox", checked: n.layers.includes(i), onChange: () => e.set({ quiz: Vs(n, i) }) }),
        i
      ] }, i)) })
    ] })
  ] });
}
function wt({ top: t, chosen: e, label: n }) {
  return /* @__PURE__ */ s("ol", { class: "lsx-top", "aria-label": n, children: t.map((r, i) => /* @__PURE__ */ s("li", { class: r.text === e ? "lsx-chosen" : void 0, title: `${Q(r.text)} ${he(r.probability)}`, children: [
    /* @__PURE__ */ s("span", { class: "lsx-bar", style: { width: `${Math.min(100, Math.max(0, r.probability || 0) * 100)}%` }, "aria-hidden": "true" }),
    /* @__PURE__ */ s("span", { class: "lsx-what", children: /* @__PURE__ */ s(ee, { text: r.text }) }),
    /* @__PURE__ */ s("span", { class: "lsx-number", children: he(r.probability) })
  ] }, i)) });
}
function Pn() {
  return /* @__PURE__ */ s("div", { class: "lsx-skeletons", "aria-hidden": "true", children: [0, 1, 2, 3, 4].map((t) => /* @__PURE__ */ s("span", { class: "lsx-skeleton" }, t)) });
}
function Ao({ asking: t }) {
  const { lenses: e } = D().about.value, { entry: n } = t, r = n?.answer ?? {}, i = n?.status === "missing" || !!n?.failure && !r.lenses;
  return /* @__PURE__ */ s("section", { class: "lsx-lenses", "aria-label": "Lenses, top five", children: [
    /* @__PURE__ */ s("h3", { children: [
      "Lenses ",
      /* @__PURE__ */ s("span", { class: "lsx-muted", children: "five most probable next tokens" })
    ] }),
    !i && /* @__PURE__ */ s("div", { class: "lsx-columns", "aria-busy": n?.status === "waiting", children: [
      e.map((o) => {
        const l = r.lenses?.find((a) => a.lens === o.id);
        return /* @__PURE__ */ s("div", { "data-testid": `lens-${o.id}`, children: [
          /* @__PURE__ */ s("h4", { title: o.about, children: o.name }),
          l ? /* @__PURE__ */ s(wt, { top: l.top, chosen: r.model?.[0]?.text ?? "", label: `${o.name}, top five` }) : /* @__PURE__ */ s(Pn, {}),
          /* @__PURE__ */ s("p", { class: "lsx-measures", children: [
            /* @__PURE__ */ s("span", { title: "Entropy of this distribution, in nats", children: [
              "H ",
              l ? Je(l.entropy) : "…"
            ] }),
            /* @__PURE__ */ s("span", { title: "Kullback–Leibler divergence from the model's own distribution, in nats", children: [
              "KL ",
              l ? Je(l.kl) : "…"
            ] })
          ] })
        ] }, o.id);
      }),
      /* @__PURE__ */ s("div", { "data-testid": "lens-model", class: "lsx-itself", children: [
        /* @__PURE__ */ s("h4", { title: "What the model says next at this token", children: "The model itself" }),
        r.model ? /* @__PURE__ */ s(wt, { top: r.model, label: "The model itself, top five" }) : /* @__PURE__ */ s(Pn, {})
      ] })
    ] }),
    /* @__PURE__ */ s($e, { entry: n, what: "the lenses at this cell" }),
    /* @__PURE__ */ s(Ce, { notes: r.notes })
  ] });
}
function An(t, e) {
  switch (t) {
    case "state":
      return { name: "The state", title: "The state of this layer and token, written into the inspection prompt" };
    case "nothing":
      return { name: "Nothing written", title: "The inspection prompt as it is" };
    case "random":
      return { name: "Random vector", title: "A random vector of the state's length" };
    case "mean":
      return {
        name: e.mean_of ? `Mean of ${gt(e.mean_of, "text")}` : "Mean state",
        title: "The mean of the states of other texts at this layer"
      };
    case "shuffled":
      return {
        name: "Another text’s state",
        title: e.shuffled_text ? `The state of “${e.shuffled_text}” at this layer` : "The state of another text at this layer"
      };
  }
}
function No(t, e, n, r) {
  const i = (d) => t.find((c) => c.reader === e && c.condition === d), o = i(n);
  if (!o) return null;
  const l = i("state"), a = (d) => !!d && !!l && d.done && l.done && ho(d.text, l.text);
  let u = null;
  if (n !== "state") u = a(o) ? "same as the state" : null;
  else {
    const d = en.filter((c) => c !== "state" && a(i(c)));
    d.length && (u = `same as control: ${d.map((c) => r(c).toLowerCase()).join(", ")}`);
  }
  return { text: o.text, done: o.done, same: u };
}
function Oo({ asking: t }) {
  const { readers: e } = D().about.value, { entry: n } = t, r = n?.answer ?? {}, i = r.said ?? [], o = n?.status === "waiting" || n?.status === "unasked", l = (a) => An(a, r).name;
  return /* @__PURE__ */ s("section", { class: "lsx-words", "aria-label": "In words", children: [
    /* @__PURE__ */ s("h3", { children: [
      "In words ",
      /* @__PURE__ */ s("span", { class: "lsx-muted", children: "what the model says when the state is written into the inspection prompt" })
    ] }),
    n?.status === "missing" || n?.failure && !i.length ? null : /* @__PURE__ */ s("div", { class: "lsx-scroll", tabIndex: e.length > 2 ? 0 : void 0, children: /* @__PURE__ */ s("table", { "data-testid": "words-table", "aria-busy": o, children: [
      /* @__PURE__ */ s("thead", { children: /* @__PURE__ */ s("tr", { children: [
        /* @__PURE__ */ s("th", { scope: "col", children: /* @__PURE__ */ s("span", { class: "lsx-unseen", children: "Written" }) }),
        e.map((a) => /* @__PURE__ */ s("th", { scope: "col", title: a.about, children: a.name }, a.id))
      ] }) }),
      /* @__PURE__ */ s("tbody", { children: en.map((a) => {
        const { name: u, title: d } = An(a, r);
        return /* @__PURE__ */ s("tr", { class: a === "state" ? "lsx-the-state" : void 0, children: [
          /* @__PURE__ */ s("th", { scope: "row", title: d, children: [
            u,
            a === "shuffled" && r.shuffled_text && /* @__PURE__ */ s("span", { class: "lsx-other", dir: "auto", children: [
              "“",
              St(r.shuffled_text, 48),
              "”"
            ] })
          ] }),
          e.map((c) => {
            const p = No(i, c.id, a, l);
            return /* @__PURE__ */ s("td", { "data-reader": c.id, "data-condition": a, dir: "auto", children: p ? /* @__PURE__ */ s(U, { children: [
              /* @__PURE__ */ s("span", { class: "lsx-said", children: p.text.trim() || (p.done ? "(nothing)" : "") }),
              !p.done && /* @__PURE__ */ s("span", { class: "lsx-caret", "aria-hidden": "true" }),
              p.same && /* @__PURE__ */ s("span", { class: a === "state" ? "lsx-badge lsx-warn" : "lsx-badge", dir: "ltr", children: [
                /* @__PURE__ */ s("span", { "aria-hidden": "true", children: a === "state" ? "⚠ " : "= " }),
                p.same
              ] })
            ] }) : o ? /* @__PURE__ */ s("span", { class: "lsx-skeleton", "aria-hidden": "true" }) : /* @__PURE__ */ s("span", { class: "lsx-muted", children: "–" }) }, c.id);
          })
        ] }, a);
      }) })
    ] }) }),
    /* @__PURE__ */ s($e, { entry: n, what: "what is said of this state with this inspection prompt" }),
    /* @__PURE__ */ s(Ce, { notes: r.notes })
  ] });
}
const Nn = 60;
function Js({ prompt: t, tokens: e, cell: n, title: r, onCell: i, hidden: o = !1, children: l, footer: a }) {
  const u = D(), d = u.state.value, { model: c } = u.about.value, p = ae("cell", o ? null : yt(t, n), { debounce: Nn }), f = ae("words", o ? null : bt(d, t, n), { debounce: Nn }), h = e[n.position], m = f.entry?.status === "done" ? f.entry.answer.said : void 0;
  return W(() => {
    const b = m?.find(({ condition: x }) => x === "state");
    b && u.say(`Layer ${n.layer}, token ${Oe(h?.text ?? "")}: ${b.text.trim()}`);
  }, [m]), /* @__PURE__ */ s("aside", { class: "lsx-panel", "aria-label": "Selected state", "data-testid": "side-panel", children: [
    /* @__PURE__ */ s("h2", { children: r }),
    i && /* @__PURE__ */ s("div", { class: "lsx-sliders", children: [
      /* @__PURE__ */ s(ne, { label: "Layer", slider: !0, value: n.layer, low: 0, high: c.n_layers - 1, onChange: (b) => i({ ...n, layer: b }) }),
      /* @__PURE__ */ s(
        ne,
        {
          label: "Token",
          slider: !0,
          value: n.position,
          low: 0,
          high: Math.max(e.length - 1, n.position),
          onChange: (b) => i({ ...n, position: b })
        }
      )
    ] }),
    l,
    o ? /* @__PURE__ */ s("div", { class: "lsx-quiz-cover", children: [
      /* @__PURE__ */ s("p", { children: [
        "What will layer ",
        n.layer,
        " say here? Decide, then look."
      ] }),
      /* @__PURE__ */ s("button", { type: "button", class: "lsx-button lsx-primary", "data-testid": "reveal", onClick: () => u.reveal(n.layer), children: [
        "Reveal layer ",
        n.layer
      ] })
    ] }) : /* @__PURE__ */ s(U, { children: [
      /* @__PURE__ */ s(Oo, { asking: f }),
      /* @__PURE__ */ s(Ao, { asking: p })
    ] }),
    a && /* @__PURE__ */ s("div", { class: "lsx-panel-buttons", children: a })
  ] });
}
function Xs({ cell: t, token: e }) {
  return /* @__PURE__ */ s(U, { children: [
    "layer ",
    t.layer,
    " ",
    /* @__PURE__ */ s("span", { class: "lsx-muted", children: "·" }),
    " token ",
    t.position,
    " ",
    e && /* @__PURE__ */ s("span", { class: "lsx-quoted", children: [
      "“",
      /* @__PURE__ */ s(ee, { text: e.text }),
      "”"
    ] })
  ] });
}
const Ro = 400;
function Do(t) {
  const e = D(), n = t.map(be).join();
  W(() => {
    if (!t.length || e.recording.peek()) return;
    let r, i;
    const o = () => {
      i?.();
      const c = t.find((f) => e.asker.slot(f).peek().status === "unasked" || a(f));
      if (!c) return;
      e.asker.ask("idle", c);
      const p = e.asker.slot(c);
      i = Pe(() => {
        const { status: f } = p.value;
        f !== "waiting" && f !== "unasked" && (r = setTimeout(o, 0));
      });
    }, l = /* @__PURE__ */ new Set(), a = (c) => e.asker.slot(c).peek().status !== "stopped" || l.has(c) ? !1 : (l.add(c), !0), u = () => {
      clearTimeout(r), i?.(), i = void 0, e.asker.leave("idle"), r = setTimeout(o, Ro);
    }, d = Pe(() => {
      e.asker.busy.value.length ? clearTimeout(r) : u();
    });
    return e.interrupt = u, () => {
      d(), i?.(), clearTimeout(r), e.interrupt = null, e.asker.leave("idle");
    };
  }, [n, e.recording.value]);
}
function Io() {
  const t = D(), e = t.state.value, n = t.about.value, { colour: r, quiz: i } = e, { entry: o, shown: l, stale: a } = ae("grid", ze(e.prompt, e.lens), {
    debounce: 60,
    useful: (w) => !!w.tokens && !!w.rows?.length
  }), u = t.recording.value, d = t.asker.revision.value, c = z(() => {
    if (!i && !u) return;
    const w = (L) => t.asker.has(bt(e, e.prompt, L)) || t.asker.has(yt(e.prompt, L));
    return (L) => i && i.layers.includes(L.layer) && !i.shown.includes(L.layer) ? "hidden" : u ? w(L) ? "known" : "unknown" : null;
  }, [i, u, e.prompt, e.inspection, d]), p = Fs(l?.answer ?? {}, r, t.dark.value, c), f = Ks(e.presenter).wide, h = Math.max(0, p.tokens.length - 1), m = z(
    () => e.cell && { layer: e.cell.layer, position: p.tokens.length && !a ? F(e.cell.position, 0, h) : e.cell.position },
    [e.cell?.layer, e.cell?.position, h, a]
  ), b = ht((w) => t.set({ cell: { layer: w.layer, position: w.position } }), []), x = m ? t.hidden(m.layer) : !1, T = z(() => {
    if (!m || x || !p.tokens.length || a) return [];
    const w = ([k, E]) => {
      const y = { layer: m.layer + k, position: m.position + E };
      return p.layers.includes(y.layer) && y.position >= 0 && y.position <= h ? [y] : [];
    }, L = [[1, 0], [-1, 0], [0, 1], [0, -1]].flatMap(w), S = [[1, 0], [-1, 0]].flatMap(w);
    return [...L.map((k) => yt(e.prompt, k)), ...S.map((k) => bt(e, e.prompt, k))];
  }, [m, x, a, p.layers, h, e.prompt, e.inspection]);
  Do(T);
  const g = ht(
    (w) => i?.layers.includes(w) && !i.shown.includes(w) ? /* @__PURE__ */ s(U, { children: [
      w,
      /* @__PURE__ */ s("button", { type: "button", class: "lsx-reveal", "aria-label": `Reveal layer ${w}`, onClick: () => t.reveal(w), children: "reveal" })
    ] }) : w,
    [i]
  ), C = z(() => i ? { ...f, side: f.side + (e.presenter ? 78 : 56) } : f, [i !== null, f.side, e.presenter]), v = !p.tokens.length;
  return /* @__PURE__ */ s(U, { children: [
    /* @__PURE__ */ s("div", { class: "lsx-top-area", children: [
      /* @__PURE__ */ s(Xe, { label: "Prompt", value: e.prompt, onRun: (w) => t.set({ prompt: w }) }),
      /* @__PURE__ */ s("div", { class: "lsx-line lsx-settings", children: [
        /* @__PURE__ */ s(
          ie,
          {
            label: "Lens",
            value: e.lens,
            options: n.lenses.map((w) => ({ value: w.id, name: w.name, about: w.about })),
            onChange: (w) => t.set({ lens: w })
          }
        ),
        /* @__PURE__ */ s(
          ie,
          {
            label: "Colour",
            value: r,
            options: Object.keys(Ae).map((w) => ({ value: w, name: Ae[w].name })),
            onChange: (w) => t.set({ colour: w })
          }
        ),
        /* @__PURE__ */ s(Ct, { pressed: !!i, testid: "quiz", onChange: (w) => t.set({ quiz: w ? { layers: Gs(p.layers.length ? p.layers : Array.from({ length: n.model.n_layers }, (L, S) => S)), shown: [] } : null }), children: "Quiz" }),
        /* @__PURE__ */ s(zs, { colour: r, range: p.range })
      ] }),
      /* @__PURE__ */ s(js, {}),
      /* @__PURE__ */ s(Po, { layers: p.layers })
    ] }),
    /* @__PURE__ */ s("div", { class: `lsx-split${m ? "" : " lsx-alone"}`, children: [
      /* @__PURE__ */ s("section", { class: "lsx-main-part", "aria-label": "Grid of layers and tokens", children: [
        !o?.failure && o?.status !== "missing" && (v ? /* @__PURE__ */ s("div", { class: "lsx-grid lsx-empty", "aria-busy": "true", children: /* @__PURE__ */ s("span", { class: "lsx-unseen", children: "Waiting for the grid" }) }) : /* @__PURE__ */ s(
          un,
          {
            testid: "grid",
            label: "What the lens reads, by layer and token",
            tokens: p.tokens,
            layers: p.layers,
            look: p.look,
            selected: a ? null : m,
            size: C,
            dim: a,
            busy: o?.status === "waiting",
            onSelect: b,
            onMove: (w) => m && b(w),
            side: g,
            onRowHead: (w, L) => {
              i && L.shiftKey ? t.set({ quiz: Vs(i, w) }) : b({ layer: w, position: m?.position ?? h });
            }
          }
        )),
        /* @__PURE__ */ s($e, { entry: o, what: "the grid of this prompt and lens" }),
        /* @__PURE__ */ s(Ce, { notes: l?.answer.notes }),
        !m && !v && /* @__PURE__ */ s("p", { class: "lsx-hint", children: "Select a cell to see what the model says of that state, beside lenses and controls." })
      ] }),
      m && /* @__PURE__ */ s(
        Js,
        {
          prompt: e.prompt,
          tokens: p.tokens,
          cell: m,
          title: /* @__PURE__ */ s(Xs, { cell: m, token: p.tokens[m.position] }),
          onCell: b,
          hidden: x,
          footer: /* @__PURE__ */ s(U, { children: [
            /* @__PURE__ */ s("button", { type: "button", class: "lsx-button", onClick: () => t.set({ view: "step", step: 0 }), children: "Step through this" }),
            /* @__PURE__ */ s(
              "button",
              {
                type: "button",
                class: "lsx-button",
                onClick: () => {
                  t.held.value = { prompt: 0, ...m }, t.set({ view: "patch", prompts: [e.prompt, t.state.peek().prompts[1]] }), t.tell("The state is held: move to a cell and press v, or click it, to write it there.");
                },
                children: "Take into patch view"
              }
            ),
            /* @__PURE__ */ s("button", { type: "button", class: "lsx-button", onClick: () => t.set({ cell: null }), children: "Close" })
          ] })
        }
      )
    ] })
  ] });
}
const Et = 200;
function jo({ answer: t, waiting: e }) {
  const { presenter: n } = D().state.value, [r, i] = re(null), o = t.clean ?? [], l = [...t.layers ?? []].sort((u, d) => d - u), a = [...t.nodes ?? []].sort((u, d) => Math.abs(d.effect) - Math.abs(u.effect));
  return !o.length || !l.length ? null : /* @__PURE__ */ s("div", { class: "lsx-circuit", "data-testid": "circuit", children: [
    /* @__PURE__ */ s("p", { class: "lsx-sentence", role: "status", children: t.faithfulness !== void 0 && a.length ? /* @__PURE__ */ s(U, { children: [
      "These ",
      gt(a.length, "node"),
      " alone bring back ",
      /* @__PURE__ */ s("strong", { children: he(t.faithfulness) }),
      " of the difference."
    ] }) : a.length ? `${gt(a.length, "node")}${e ? "; how far they do it alone is being run…" : "."}` : e ? "Looking for nodes…" : "No node is above the threshold." }),
    /* @__PURE__ */ s("div", { class: "lsx-circuit-parts", children: [
      /* @__PURE__ */ s(Ho, { tokens: o, layers: l, nodes: a, over: r, onOver: i, big: n }),
      /* @__PURE__ */ s("div", { class: "lsx-scroll lsx-nodes", tabIndex: 0, role: "region", "aria-label": "Nodes", children: [
        /* @__PURE__ */ s("table", { children: [
          /* @__PURE__ */ s("thead", { children: /* @__PURE__ */ s("tr", { children: [
            /* @__PURE__ */ s("th", { scope: "col", children: "Node" }),
            /* @__PURE__ */ s("th", { scope: "col", children: "Token" }),
            /* @__PURE__ */ s("th", { scope: "col", children: "Effect" })
          ] }) }),
          /* @__PURE__ */ s("tbody", { children: a.slice(0, Et).map((u) => /* @__PURE__ */ s("tr", { class: r === u.site ? "lsx-over" : void 0, title: u.site, onMouseEnter: () => i(u.site), onMouseLeave: () => i(null), children: [
            /* @__PURE__ */ s("th", { scope: "row", children: u.name }),
            /* @__PURE__ */ s("td", { children: [
              u.position,
              " ",
              /* @__PURE__ */ s(ee, { text: o[u.position]?.text ?? "" })
            ] }),
            /* @__PURE__ */ s("td", { class: "lsx-number", children: te(u.effect, 3, !0) })
          ] }, u.site)) })
        ] }),
        a.length > Et && /* @__PURE__ */ s("p", { class: "lsx-muted", children: [
          "and ",
          a.length - Et,
          " more"
        ] })
      ] })
    ] })
  ] });
}
function Ho({ tokens: t, layers: e, nodes: n, over: r, onOver: i, big: o }) {
  const l = o ? 104 : 78, a = o ? 34 : 24, u = o ? 52 : 40, d = o ? 44 : 32, c = 8, p = new Map(e.map((g, C) => [g, C])), f = u + t.length * l, h = c + e.length * a + d, m = Math.max(...n.map((g) => Math.abs(g.effect)), 1e-9), b = Uo(n), x = c + e.length * a, T = new Set(n.slice(0, 24).map(({ site: g }) => g));
  return /* @__PURE__ */ s("div", { class: "lsx-scroll lsx-drawing", tabIndex: 0, role: "region", "aria-label": "Drawing of the circuit", children: /* @__PURE__ */ s("svg", { width: f, height: h, viewBox: `0 0 ${f} ${h}`, role: "img", "aria-label": `${gt(n.length, "node")} by token and layer; the table lists them`, children: [
    e.map((g, C) => {
      const v = c + (C + 0.5) * a;
      return /* @__PURE__ */ s("g", { children: [
        /* @__PURE__ */ s("line", { class: "lsx-rule", x1: u, x2: f, y1: v, y2: v }),
        /* @__PURE__ */ s("text", { class: "lsx-axis", x: u - 8, y: v, "text-anchor": "end", "dominant-baseline": "central", children: g })
      ] }, g);
    }),
    t.map((g, C) => /* @__PURE__ */ s("g", { children: [
      /* @__PURE__ */ s("line", { class: "lsx-rule", x1: u + (C + 0.5) * l, x2: u + (C + 0.5) * l, y1: c, y2: x }),
      /* @__PURE__ */ s("text", { class: "lsx-axis", x: u + (C + 0.5) * l, y: x + d / 2, "text-anchor": "middle", "dominant-baseline": "central", children: [
        /* @__PURE__ */ s("title", { children: Q(g.text) }),
        St(Q(g.text), 9)
      ] })
    ] }, C)),
    [...n].reverse().map((g) => {
      const C = p.get(g.layer);
      if (C === void 0) return null;
      const v = u + (g.position + 0.5) * l + (b.get(g.site) ?? 0) * l, w = c + (C + 0.5) * a, L = 3.5 + (a * 0.42 - 3.5) * Math.sqrt(Math.abs(g.effect) / m);
      return /* @__PURE__ */ s("g", { class: `${g.effect >= 0 ? "lsx-plus" : "lsx-minus"}${r === g.site ? " lsx-over" : ""}`, onMouseEnter: () => i(g.site), onMouseLeave: () => i(null), children: [
        /* @__PURE__ */ s("title", { children: `${g.name} at token ${g.position} “${Q(t[g.position]?.text ?? "")}”: ${te(g.effect, 3, !0)}` }),
        g.effect >= 0 ? /* @__PURE__ */ s("circle", { cx: v, cy: w, r: L }) : /* @__PURE__ */ s("path", { d: `M${v},${w - L * 1.2} L${v + L * 1.2},${w} L${v},${w + L * 1.2} L${v - L * 1.2},${w} Z` }),
        T.has(g.site) && /* @__PURE__ */ s("text", { class: "lsx-node-name", x: v, y: w - L - 3, "text-anchor": "middle", children: g.name.replace("head ", "") })
      ] }, g.site);
    })
  ] }) });
}
function Uo(t) {
  const e = /* @__PURE__ */ new Map();
  for (const r of t) {
    const i = `${r.layer} ${r.position}`;
    e.set(i, [...e.get(i) ?? [], r]);
  }
  const n = /* @__PURE__ */ new Map();
  for (const r of e.values())
    r.forEach((i, o) => n.set(i.site, r.length < 2 ? 0 : (o / (r.length - 1) - 0.5) * 0.72));
  return n;
}
const On = {
  usual: { width: 74, height: 25, head: 62, side: 46 },
  presenter: { width: 110, height: 38, head: 92, side: 62 }
};
function Wo(t, e) {
  const n = t.clean ?? [], r = t.corrupted ?? [], i = z(() => [...t.layers ?? []].sort((p, f) => f - p), [t.layers]), o = z(() => new Map((t.exact ?? []).map((p) => [p.layer, p.effects])), [t.exact]), l = z(() => new Map((t.layers ?? []).map((p, f) => [p, t.estimate?.[f]])), [t.layers, t.estimate]), a = z(() => {
    const p = (t.layers ?? []).flatMap((f) => o.get(f) ?? l.get(f) ?? []);
    return F(Ut(p.map(Math.abs), 0.995), 0.05, 1);
  }, [o, l]), u = z(
    () => (p, f) => ({ exact: o.get(p)?.[f], estimate: l.get(p)?.[f] }),
    [o, l]
  ), d = z(
    () => (p, f) => {
      const h = u(p, f), m = h.exact ?? h.estimate;
      if (m === void 0) return null;
      const b = h.exact === void 0;
      return {
        text: (b ? "≈ " : "") + te(m),
        plain: !0,
        name: `${cn(p, f, n[f]?.text)}: effect ${b ? "about " : ""}${te(m, 3)}`,
        class: b ? "lsx-effect lsx-estimate" : "lsx-effect",
        ...Ws("effect", m / a, e)
      };
    },
    [u, a, e, n]
  ), c = z(
    () => (p) => {
      const f = n[p]?.text ?? "", h = r[p]?.text, m = h !== void 0 && h !== f;
      return /* @__PURE__ */ s(U, { children: [
        /* @__PURE__ */ s("span", { class: "lsx-index", children: [
          p,
          m && /* @__PURE__ */ s("span", { class: "lsx-differs", title: `clean “${Q(f)}”, corrupted “${Q(h)}”`, children: [
            " ",
            "≠",
            /* @__PURE__ */ s("span", { class: "lsx-unseen", children: [
              " differs: ",
              Oe(h)
            ] })
          ] })
        ] }),
        /* @__PURE__ */ s(ee, { text: f }),
        h !== void 0 && /* @__PURE__ */ s("span", { class: m ? "lsx-second lsx-different" : "lsx-second", children: m ? /* @__PURE__ */ s(ee, { text: h }) : /* @__PURE__ */ s("span", { "aria-hidden": "true", children: "″" }) })
      ] });
    },
    [n, r]
  );
  return { tokens: n, layers: i, look: d, head: c, most: a, numbers: u, ready: n.length > 0 && i.length > 0 };
}
const Bo = [
  { value: "resid_pre", name: "Block input (residual)", about: "The residual stream that enters a block" },
  { value: "attn_out", name: "Attention output", about: "What a block's attention writes" },
  { value: "mlp_out", name: "MLP output", about: "What a block's MLP writes" }
];
function Fo() {
  const t = D(), e = t.state.value, n = t.mattersCell.value, r = De(), i = ae("matters", Wt(e), { keep: !0, useful: (v) => !!v.clean && !!v.layers }), o = ae("circuit", e.circuit ? xs(e) : null, { debounce: 200, keep: !0, useful: (v) => !!v.nodes }), l = i.shown?.answer ?? {}, a = Wo(l, t.dark.value), [u, d] = re(null), [c, p] = re({ clean: e.clean, corrupted: e.corrupted, answer: e.answer, wrong: e.wrong });
  W(() => p({ clean: e.clean, corrupted: e.corrupted, answer: e.answer, wrong: e.wrong }), [se([e.clean, e.corrupted, e.answer, e.wrong])]);
  const f = (v = {}) => {
    t.mattersCell.value = null, t.set({ ...c, ...v }), t.again.value += 1;
  }, h = ht((v) => {
    t.mattersCell.value = { layer: v.layer, position: v.position };
  }, []), m = i.entry?.status === "done";
  W(() => {
    m && t.say("All effects have been run.");
  }, [m]);
  const b = i.entry?.answer, x = (v, w, L) => /* @__PURE__ */ s("span", { class: "lsx-field", children: [
    /* @__PURE__ */ s("label", { for: `${r}-${w}`, children: v }),
    /* @__PURE__ */ s(
      "input",
      {
        id: `${r}-${w}`,
        type: "text",
        value: c[w],
        placeholder: L !== void 0 && !e[w] ? `${Q(L)} (the model’s)` : "the model’s",
        spellcheck: !1,
        autocomplete: "off",
        onInput: (S) => p({ ...c, [w]: S.currentTarget.value }),
        onKeyDown: (S) => S.key === "Enter" && !S.isComposing && f()
      }
    )
  ] }), T = u ?? n, g = T && a.numbers(T.layer, T.position), C = n && Nr(e.site, n);
  return /* @__PURE__ */ s(U, { children: [
    /* @__PURE__ */ s("div", { class: "lsx-top-area", children: [
      /* @__PURE__ */ s("div", { class: "lsx-two", children: [
        /* @__PURE__ */ s(Xe, { bare: !0, label: "Clean", testid: "prompt-clean", value: e.clean, onDraft: (v) => p((w) => ({ ...w, clean: v })), onRun: (v) => f({ clean: v }) }),
        /* @__PURE__ */ s(Xe, { bare: !0, label: "Corrupted", testid: "prompt-corrupted", value: e.corrupted, onDraft: (v) => p((w) => ({ ...w, corrupted: v })), onRun: (v) => f({ corrupted: v }) })
      ] }),
      /* @__PURE__ */ s("div", { class: "lsx-line lsx-settings", children: [
        x("Answer", "answer", b?.answer),
        x("Wrong answer", "wrong", b?.wrong),
        /* @__PURE__ */ s(ie, { label: "Patched", value: e.site, options: Bo, onChange: (v) => t.set({ site: v }), disabled: e.circuit }),
        /* @__PURE__ */ s("button", { type: "button", class: "lsx-button lsx-primary", "data-testid": "run", onClick: () => f(), children: [
          "Run ",
          /* @__PURE__ */ s("kbd", { "aria-hidden": "true", children: "↵" })
        ] }),
        /* @__PURE__ */ s(Ct, { pressed: e.circuit, onChange: (v) => t.set({ circuit: v }), children: "Circuit" }),
        e.circuit && /* @__PURE__ */ s(ne, { label: "Threshold", slider: !0, value: e.threshold, low: 0.01, high: 0.5, step: 0.01, onChange: (v) => t.set({ threshold: v }) })
      ] }),
      l.baselines && /* @__PURE__ */ s("p", { class: "lsx-sentence", children: [
        "Logit of “",
        Q(l.answer ?? ""),
        "” over “",
        Q(l.wrong ?? ""),
        "”: ",
        /* @__PURE__ */ s("strong", { children: te(l.baselines.clean, 2, !0) }),
        " in the clean run,",
        " ",
        /* @__PURE__ */ s("strong", { children: te(l.baselines.corrupted, 2, !0) }),
        " in the corrupted one."
      ] })
    ] }),
    e.circuit ? /* @__PURE__ */ s("section", { class: "lsx-main-part", "aria-label": "Circuit", "aria-busy": o.entry?.status === "waiting", children: [
      /* @__PURE__ */ s("div", { class: o.stale ? "lsx-dim" : void 0, children: /* @__PURE__ */ s(jo, { answer: o.shown?.answer ?? {}, waiting: o.entry?.status === "waiting" }) }),
      /* @__PURE__ */ s("p", { class: "lsx-legend", children: [
        /* @__PURE__ */ s("span", { class: "lsx-key lsx-plus", children: [
          /* @__PURE__ */ s("svg", { width: "12", height: "12", "aria-hidden": "true", children: /* @__PURE__ */ s("circle", { cx: "6", cy: "6", r: "5" }) }),
          " towards the clean answer"
        ] }),
        /* @__PURE__ */ s("span", { class: "lsx-key lsx-minus", children: [
          /* @__PURE__ */ s("svg", { width: "14", height: "12", "aria-hidden": "true", children: /* @__PURE__ */ s("path", { d: "M7,0.5 L12.5,6 L7,11.5 L1.5,6 Z" }) }),
          " away from it"
        ] }),
        /* @__PURE__ */ s("span", { class: "lsx-muted", children: "area by the size of the effect, to first order" })
      ] }),
      /* @__PURE__ */ s($e, { entry: o.entry, what: "this circuit" }),
      /* @__PURE__ */ s(Ce, { notes: o.shown?.answer.notes })
    ] }) : /* @__PURE__ */ s("div", { class: `lsx-split${n ? "" : " lsx-alone"}`, children: [
      /* @__PURE__ */ s("section", { class: "lsx-main-part", "aria-label": "Map of effects", children: [
        a.ready ? /* @__PURE__ */ s(
          un,
          {
            testid: "matters-map",
            label: "Effect of the clean run's state, by layer and token",
            tokens: a.tokens,
            layers: a.layers,
            look: a.look,
            selected: n,
            size: e.presenter ? On.presenter : On.usual,
            head: a.head,
            dim: i.stale,
            busy: i.entry?.status === "waiting",
            onSelect: h,
            onMove: (v) => n && h(v),
            onHover: d
          }
        ) : !i.entry?.failure && i.entry?.status !== "missing" && /* @__PURE__ */ s("div", { class: "lsx-grid lsx-empty", "aria-busy": "true", children: /* @__PURE__ */ s("span", { class: "lsx-unseen", children: "Waiting for the map" }) }),
        /* @__PURE__ */ s("div", { class: "lsx-legend", children: [
          /* @__PURE__ */ s("span", { class: "lsx-scale", children: [
            /* @__PURE__ */ s("span", { children: [
              te(-a.most, 1),
              " away"
            ] }),
            /* @__PURE__ */ s("span", { class: "lsx-ramp", style: { backgroundImage: Bs("effect", t.dark.value) } }),
            /* @__PURE__ */ s("span", { children: [
              "towards clean ",
              te(a.most, 1, !0)
            ] })
          ] }),
          /* @__PURE__ */ s("span", { class: "lsx-muted", children: "0 is the corrupted run, 1 the clean one; ≈ and hatched: an estimate of the first order" })
        ] }),
        /* @__PURE__ */ s("p", { class: "lsx-readout", "aria-hidden": !g, children: T && g ? /* @__PURE__ */ s(U, { children: [
          "layer ",
          T.layer,
          ", token ",
          T.position,
          ": run ",
          /* @__PURE__ */ s("strong", { children: g.exact === void 0 ? "not yet" : te(g.exact, 3) }),
          ", estimated",
          " ",
          /* @__PURE__ */ s("strong", { children: g.estimate === void 0 ? "–" : te(g.estimate, 3) })
        ] }) : " " }),
        /* @__PURE__ */ s($e, { entry: i.entry, what: "this pair of prompts" }),
        /* @__PURE__ */ s(Ce, { notes: i.shown?.answer.notes }),
        !n && a.ready && /* @__PURE__ */ s("p", { class: "lsx-hint", children: "Select a cell to see what the clean prompt’s state says there." })
      ] }),
      n && C && /* @__PURE__ */ s(
        Js,
        {
          prompt: e.clean,
          tokens: a.tokens,
          cell: C,
          title: /* @__PURE__ */ s(Xs, { cell: n, token: a.tokens[n.position] }),
          footer: /* @__PURE__ */ s("button", { type: "button", class: "lsx-button", onClick: () => t.mattersCell.value = null, children: "Close" }),
          children: /* @__PURE__ */ s("p", { class: "lsx-hint", children: e.site === "resid_pre" ? n.layer > 0 ? `The clean prompt’s residual that enters block ${n.layer}: the output of block ${C.layer}.` : "Nearest to the input of block 0: the clean prompt’s residual after block 0." : `The clean prompt’s residual after block ${C.layer}.` })
        }
      )
    ] })
  ] });
}
function Ko({ patches: t, drag: e, handles: n, outer: r, held: i }) {
  if (!r) return null;
  const o = r.getBoundingClientRect(), l = (u) => {
    const d = n[u.prompt];
    if (!d) return null;
    const c = d.box(u), p = d.port(), f = c.x + c.width / 2, h = c.y + c.height / 2, m = F(f, p.x, p.x + p.width), b = F(h, p.y, p.y + p.height);
    return {
      box: { ...c, x: c.x - o.left, y: c.y - o.top },
      x: m - o.left,
      y: b - o.top,
      out: m !== f || b !== h
    };
  }, a = (u, d) => u && !u.out && /* @__PURE__ */ s("rect", { class: `lsx-ring ${d}`, x: u.box.x + 1, y: u.box.y + 1, width: u.box.width - 2, height: u.box.height - 2, rx: 3 });
  return /* @__PURE__ */ s("svg", { class: "lsx-arrows", width: o.width, height: o.height, "aria-hidden": "true", children: [
    t.map((u, d) => {
      const c = l(u.to), p = u.from && l(u.from);
      if (!c) return null;
      if (!p)
        return /* @__PURE__ */ s("g", { children: [
          a(c, "lsx-to"),
          !c.out && /* @__PURE__ */ s("text", { class: "lsx-times", x: c.box.x + c.box.width - 3, y: c.box.y + 9, "text-anchor": "end", children: "×" })
        ] }, d);
      const { line: f, head: h } = Go(p, c);
      return /* @__PURE__ */ s("g", { class: p.out || c.out ? "lsx-out" : void 0, children: [
        /* @__PURE__ */ s("path", { class: "lsx-halo", d: f }),
        /* @__PURE__ */ s("path", { class: "lsx-line-path", d: f }),
        /* @__PURE__ */ s("path", { class: "lsx-point", d: h }),
        a(p, "lsx-from"),
        a(c, "lsx-to")
      ] }, d);
    }),
    i && a(l(i), "lsx-held"),
    e && a(l(e.from), "lsx-held"),
    e?.over && a(l(e.over), "lsx-drop"),
    e && /* @__PURE__ */ s("path", { class: "lsx-dragged", d: zo(l(e.from), e.x - o.left, e.y - o.top) })
  ] });
}
function zo(t, e, n) {
  return t ? `M${t.x},${t.y} L${e},${n}` : "";
}
function Go(t, e) {
  const n = e.x >= t.x, r = Math.abs(e.x - t.x) >= Math.abs(e.y - t.y) * 0.6, i = (h) => h.out ? 0 : (r ? h.box.width : h.box.height) / 2, o = e.y >= t.y, l = r ? { x: t.x + (n ? i(t) : -i(t)), y: t.y } : { x: t.x, y: t.y + (o ? i(t) : -i(t)) }, a = r ? { x: e.x + (n ? -i(e) : i(e)), y: e.y } : { x: e.x, y: e.y + (o ? -i(e) : i(e)) }, u = Math.max(24, Math.abs(r ? a.x - l.x : a.y - l.y) * 0.45), d = r ? { x: n ? u : -u, y: 0 } : { x: 0, y: o ? u : -u }, c = `M${l.x},${l.y} C${l.x + d.x},${l.y + d.y} ${a.x - d.x},${a.y - d.y} ${a.x},${a.y}`, p = Math.atan2(d.y, d.x), f = (h) => `${a.x - 8 * Math.cos(p + h)},${a.y - 8 * Math.sin(p + h)}`;
  return { line: c, head: `M${a.x},${a.y} L${f(0.45)} L${f(-0.45)} Z` };
}
const Vo = 5, Jo = 350, tt = 28;
function Xo(t, e, n) {
  const r = t.elementFromPoint(e, n), i = r?.closest("[data-prompt]"), o = Ue(r);
  return i && o ? { prompt: i.dataset.prompt === "1" ? 1 : 0, ...o } : null;
}
function Yo(t, e, n) {
  const r = t.elementFromPoint(e, n)?.closest(".lsx-grid");
  if (!r) return;
  const i = r.getBoundingClientRect();
  e > i.right - tt ? r.scrollLeft += 12 : e < i.left + tt * 2 && (r.scrollLeft -= 12), n > i.bottom - tt ? r.scrollTop += 12 : n < i.top + tt * 2 && (r.scrollTop -= 12);
}
function Qo(t) {
  const [e, n] = re(null), r = ln(t), i = Z(0);
  return { drag: e, grab: (a, u) => {
    if (a.button !== 0 || !a.isPrimary) return;
    const d = a.target, c = d.getRootNode(), p = { x: a.clientX, y: a.clientY }, f = a.pointerType !== "mouse";
    let h = !1, m = null;
    const b = () => {
      h = !0, x(p.x, p.y);
    }, x = (E, y) => {
      m = { from: u, over: Xo(c, E, y), x: E, y }, n(m);
    }, T = f ? setTimeout(b, Jo) : void 0, g = (E) => {
      if (E.pointerId !== a.pointerId) return;
      const y = Math.hypot(E.clientX - p.x, E.clientY - p.y) > Vo;
      if (!h && y) {
        if (f) return k();
        b();
      }
      h && (E.preventDefault(), Yo(c, E.clientX, E.clientY), x(E.clientX, E.clientY));
    }, C = (E) => h && E.cancelable && E.preventDefault(), v = (E) => E.key === "Escape" && k(), w = (E) => {
      if (E.pointerId !== a.pointerId) return;
      const y = h ? m : null;
      if (k(), !y) return;
      i.current = performance.now();
      const { over: P } = y;
      P && !(P.prompt === u.prompt && P.layer === u.layer && P.position === u.position) && r.current(u, P);
    }, L = () => k(), S = (E) => f && E.preventDefault(), k = () => {
      clearTimeout(T), h = !1, n(null), window.removeEventListener("pointermove", g), window.removeEventListener("pointerup", w), window.removeEventListener("pointercancel", L), window.removeEventListener("keydown", v, !0), d.removeEventListener("touchmove", C), window.removeEventListener("contextmenu", S);
    };
    window.addEventListener("pointermove", g), window.addEventListener("pointerup", w), window.addEventListener("pointercancel", L), window.addEventListener("keydown", v, !0), d.addEventListener("touchmove", C, { passive: !1 }), window.addEventListener("contextmenu", S);
  }, justDropped: () => performance.now() - i.current < 100 };
}
const Zo = [
  { value: "set", name: "replace", about: "The state takes the place of the target's" },
  { value: "add", name: "add", about: "The state is added to the target's" },
  { value: "project_out", name: "project out", about: "The state's direction is taken out of the target's" },
  { value: "scale", name: "scale", about: "The target's own state is multiplied" }
];
function Rn({ label: t, spot: e, tokens: n, onChange: r }) {
  const { model: i } = D().about.value, o = n[e.prompt] ?? [], l = Math.max(o.length, e.position + 1);
  return /* @__PURE__ */ s("span", { class: "lsx-spot", children: [
    /* @__PURE__ */ s(
      ie,
      {
        label: `${t}: prompt`,
        hideLabel: !0,
        value: String(e.prompt),
        options: [
          { value: "0", name: "A" },
          { value: "1", name: "B" }
        ],
        onChange: (a) => {
          const u = a === "1" ? 1 : 0;
          r({ ...e, prompt: u, position: Math.min(e.position, Math.max(0, (n[u]?.length ?? 1) - 1)) });
        }
      }
    ),
    /* @__PURE__ */ s("span", { "aria-hidden": "true", class: "lsx-muted", children: "layer" }),
    /* @__PURE__ */ s(ne, { label: `${t}: layer`, hideLabel: !0, slider: !0, value: e.layer, low: 0, high: i.n_layers - 1, onChange: (a) => r({ ...e, layer: a }) }),
    /* @__PURE__ */ s(
      ie,
      {
        label: `${t}: token`,
        hideLabel: !0,
        value: String(e.position),
        options: Array.from({ length: l }, (a, u) => ({
          value: String(u),
          name: `${u} ${St(Q(o[u]?.text ?? ""), 24)}`
        })),
        onChange: (a) => r({ ...e, position: Number(a) })
      }
    )
  ] });
}
function qo({ patches: t, tokens: e }) {
  const n = D(), r = (l, a) => n.setPatches(t.map((u, d) => d === l ? { ...u, ...a } : u)), i = (l) => Math.max(0, (e[l]?.length ?? 1) - 1), o = Math.floor(n.about.value.model.n_layers / 2);
  return /* @__PURE__ */ s("section", { class: "lsx-patches", "aria-label": "Patches", children: [
    /* @__PURE__ */ s("div", { class: "lsx-line", children: [
      /* @__PURE__ */ s("h2", { children: "Patches" }),
      /* @__PURE__ */ s(
        "button",
        {
          type: "button",
          class: "lsx-button",
          onClick: () => n.setPatches([
            ...t,
            { from: { prompt: 0, layer: o, position: i(0) }, to: { prompt: 1, layer: o, position: i(1) }, how: "set", amount: 1 }
          ]),
          children: "Add a patch"
        }
      ),
      /* @__PURE__ */ s("button", { type: "button", class: "lsx-button", disabled: !t.length, onClick: () => n.setPatches([]), children: "Clear all" })
    ] }),
    t.length === 0 ? /* @__PURE__ */ s("p", { class: "lsx-hint", "data-testid": "patch-list", children: [
      "Drag a state of one prompt onto a cell of the other. By keyboard: ",
      /* @__PURE__ */ s("kbd", { children: "c" }),
      " copies the focused cell, ",
      /* @__PURE__ */ s("kbd", { children: "v" }),
      " writes it, ",
      /* @__PURE__ */ s("kbd", { children: "Delete" }),
      " takes it away."
    ] }) : /* @__PURE__ */ s("div", { class: "lsx-scroll", tabIndex: 0, role: "region", "aria-label": "List of patches", children: /* @__PURE__ */ s("table", { "data-testid": "patch-list", class: "lsx-patch-table", children: [
      /* @__PURE__ */ s("thead", { children: /* @__PURE__ */ s("tr", { children: [
        /* @__PURE__ */ s("th", { scope: "col", children: "From" }),
        /* @__PURE__ */ s("th", { scope: "col", children: "To" }),
        /* @__PURE__ */ s("th", { scope: "col", children: "How" }),
        /* @__PURE__ */ s("th", { scope: "col", children: "Times" }),
        /* @__PURE__ */ s("th", { scope: "col", children: /* @__PURE__ */ s("span", { class: "lsx-unseen", children: "Remove" }) })
      ] }) }),
      /* @__PURE__ */ s("tbody", { children: t.map((l, a) => {
        const u = `Patch ${a + 1}`;
        return /* @__PURE__ */ s("tr", { children: [
          /* @__PURE__ */ s("td", { "data-th": "From", children: l.from ? /* @__PURE__ */ s(Rn, { label: `${u}, from`, spot: l.from, tokens: e, onChange: (d) => r(a, { from: d }) }) : /* @__PURE__ */ s("span", { class: "lsx-muted", children: "the target’s own state" }) }),
          /* @__PURE__ */ s("td", { "data-th": "To", children: /* @__PURE__ */ s(Rn, { label: `${u}, to`, spot: l.to, tokens: e, onChange: (d) => r(a, { to: d }) }) }),
          /* @__PURE__ */ s("td", { "data-th": "How", children: /* @__PURE__ */ s(
            ie,
            {
              label: `${u}: how`,
              hideLabel: !0,
              value: l.how,
              options: Zo,
              onChange: (d) => r(a, { how: d, from: d === "scale" ? null : l.from ?? { ...l.to, prompt: l.to.prompt === 0 ? 1 : 0, position: Math.min(l.to.position, i(l.to.prompt === 0 ? 1 : 0)) } })
            }
          ) }),
          /* @__PURE__ */ s("td", { "data-th": "Times", children: /* @__PURE__ */ s(
            ne,
            {
              label: `${u}: times`,
              hideLabel: !0,
              slider: !0,
              value: l.amount,
              low: -3,
              high: 3,
              step: 0.1,
              disabled: l.how === "project_out",
              onChange: (d) => r(a, { amount: d })
            }
          ) }),
          /* @__PURE__ */ s("td", { children: /* @__PURE__ */ s("button", { type: "button", class: "lsx-button lsx-icon", "aria-label": `Remove patch ${a + 1}`, onClick: () => n.setPatches(t.filter((d, c) => c !== a)), children: "×" }) })
        ] }, a);
      }) })
    ] }) })
  ] });
}
function Lt({ parts: t, kind: e }) {
  return /* @__PURE__ */ s("p", { class: "lsx-continued", dir: "auto", children: [
    t.length === 0 && /* @__PURE__ */ s("span", { class: "lsx-muted", children: "(nothing)" }),
    t.map(
      (n, r) => n.changed ? e === "before" ? /* @__PURE__ */ s("del", { children: n.text }, r) : /* @__PURE__ */ s("ins", { children: n.text }, r) : n.text
    )
  ] });
}
function ei(t) {
  const { before: e, after: n } = t, r = /* @__PURE__ */ new Map();
  for (const i of n?.top ?? []) r.set(i.text, { text: i.text, before: null, after: i.probability });
  for (const i of e.top) {
    const o = r.get(i.text);
    o ? o.before = i.probability : r.set(i.text, { text: i.text, before: i.probability, after: null });
  }
  return [...r.values()];
}
function ti({ result: t }) {
  const e = t.prompt === 0 ? "A" : "B", { before: n, after: r } = t;
  if (!r)
    return /* @__PURE__ */ s("section", { class: "lsx-result", "data-testid": `patch-result-${t.prompt}`, "aria-label": `Prompt ${e}, not patched`, children: [
      /* @__PURE__ */ s("h3", { children: [
        "Prompt ",
        e,
        " ",
        /* @__PURE__ */ s("span", { class: "lsx-muted", children: "not patched" })
      ] }),
      /* @__PURE__ */ s(Lt, { parts: n.text ? [{ text: n.text, changed: !1 }] : [], kind: "before" }),
      /* @__PURE__ */ s(wt, { top: n.top, label: `Prompt ${e}: next tokens` })
    ] });
  const [i, o] = po(n.text, r.text), l = (d) => Math.min(...d.map((c) => c.probability), 1), a = { before: l(n.top), after: l(r.top) }, u = (d, c) => /* @__PURE__ */ s("span", { class: `lsx-thin ${c}`, style: { width: `${Math.min(1, d ?? 0) * 100}%` } });
  return /* @__PURE__ */ s("section", { class: "lsx-result", "data-testid": `patch-result-${t.prompt}`, "aria-label": `Prompt ${e}, patched`, children: [
    /* @__PURE__ */ s("h3", { children: [
      "Prompt ",
      e,
      " ",
      t.kl !== null && /* @__PURE__ */ s("span", { class: "lsx-muted", title: "Kullback–Leibler divergence of the next token's distribution, patched from unpatched, in nats", children: [
        "KL ",
        Je(t.kl),
        " nats"
      ] })
    ] }),
    /* @__PURE__ */ s("div", { class: "lsx-before-after", children: [
      /* @__PURE__ */ s("div", { children: [
        /* @__PURE__ */ s("h4", { children: "Before" }),
        /* @__PURE__ */ s(Lt, { parts: i, kind: "before" })
      ] }),
      /* @__PURE__ */ s("div", { children: [
        /* @__PURE__ */ s("h4", { children: "After" }),
        /* @__PURE__ */ s(Lt, { parts: o, kind: "after" })
      ] })
    ] }),
    /* @__PURE__ */ s("table", { class: "lsx-compare", children: [
      /* @__PURE__ */ s("thead", { children: /* @__PURE__ */ s("tr", { children: [
        /* @__PURE__ */ s("th", { scope: "col", children: "Next token" }),
        /* @__PURE__ */ s("th", { scope: "col", children: /* @__PURE__ */ s("span", { class: "lsx-unseen", children: "Bars" }) }),
        /* @__PURE__ */ s("th", { scope: "col", children: "before" }),
        /* @__PURE__ */ s("th", { scope: "col", children: "after" }),
        /* @__PURE__ */ s("th", { scope: "col", children: "change" })
      ] }) }),
      /* @__PURE__ */ s("tbody", { children: ei(t).map((d) => /* @__PURE__ */ s("tr", { children: [
        /* @__PURE__ */ s("th", { scope: "row", children: /* @__PURE__ */ s(ee, { text: d.text }) }),
        /* @__PURE__ */ s("td", { class: "lsx-bars", "aria-hidden": "true", children: [
          u(d.before, "lsx-was"),
          u(d.after, "lsx-is")
        ] }),
        /* @__PURE__ */ s("td", { children: d.before === null ? `< ${he(a.before)}` : he(d.before) }),
        /* @__PURE__ */ s("td", { children: d.after === null ? `< ${he(a.after)}` : he(d.after) }),
        /* @__PURE__ */ s("td", { children: d.before !== null && d.after !== null ? te((d.after - d.before) * 100, 1, !0) : d.after !== null ? "↑ new" : "↓ out" })
      ] }, d.text)) })
    ] })
  ] });
}
const Te = ["A", "B"], ni = null;
function Dn(t) {
  const e = D(), n = e.state.value, r = ae(`grid:${t}`, ze(n.prompts[t], n.lens), {
    debounce: 60,
    useful: (o) => !!o.tokens && !!o.rows?.length
  }), i = Fs(r.shown?.answer ?? {}, n.colour, e.dark.value);
  return { ...r, grid: i };
}
function si() {
  const t = D(), e = t.state.value, n = t.about.value, r = [Dn(0), Dn(1)], i = r.map((y) => y.grid.tokens), o = t.held.value, l = Z(null), a = Z([null, null]), [, u] = re(0), d = Z(0), c = ht(() => {
    cancelAnimationFrame(d.current), d.current = requestAnimationFrame(() => u((y) => y + 1));
  }, []);
  W(() => {
    const y = l.current;
    if (c(), !y || typeof ResizeObserver > "u") return;
    const P = new ResizeObserver(c);
    return P.observe(y), () => {
      P.disconnect(), cancelAnimationFrame(d.current);
    };
  }, []), W(c, [r[0].shown, r[1].shown, e.presenter, o]);
  const p = (y) => `${Te[y.prompt]}, layer ${y.layer}, token ${y.position} “${Oe(i[y.prompt]?.[y.position]?.text ?? "")}”`, f = (y, P) => {
    t.setPatches([...t.state.peek().patches, { from: y, to: P, how: "set", amount: 1 }]), t.say(`Patch from ${p(y)} to ${p(P)}.`);
  }, { drag: h, grab: m, justDropped: b } = Qo(f), x = (y) => {
    t.held.value = y, t.say(y ? `Held: ${p(y)}.` : "Nothing is held.");
  }, T = (y, P, N) => {
    const _ = { prompt: y, ...N }, $ = t.singleKeys.peek() && !P.ctrlKey && !P.metaKey && !P.altKey;
    if (P.key === "c" && $)
      return x(_), !0;
    if (P.key === "v" && $) {
      const I = t.held.peek();
      return I ? f(I, _) : t.tell("Nothing is held: press c on the cell whose state you want."), !0;
    }
    if (P.key === "Delete" || P.key === "Backspace") {
      const I = t.state.peek().patches, G = I.filter(({ to: fe }) => !(fe.prompt === y && fe.layer === N.layer && fe.position === N.position));
      return G.length !== I.length && (t.setPatches(G), t.say(`Removed the patches at ${p(_)}.`)), !0;
    }
    return P.key === "Escape" && t.held.peek() ? (x(null), !0) : !1;
  }, g = e.patches.length ? vs(e) : null, { entry: C, shown: v, stale: w } = ae("patch", g, { debounce: 150, useful: (y) => !!y.results?.length }), L = g ? [...v?.answer.results ?? []].sort((y, P) => y.prompt - P.prompt) : [];
  W(() => {
    if (C?.status === "done")
      for (const y of C.answer.results ?? [])
        y.after && t.say(`Prompt ${Te[y.prompt]} now goes on: ${y.after.text}`);
  }, [C?.status, C?.question]);
  const S = (y, P) => {
    const [N, _] = t.state.peek().prompts;
    t.set({ prompts: y === 0 ? [P, _] : [N, P] });
  }, k = Ks(e.presenter).compact, E = z(() => (r[0].grid.range.most >= r[1].grid.range.most ? r[0] : r[1]).grid.range, [r[0].grid.range, r[1].grid.range]);
  return /* @__PURE__ */ s(U, { children: [
    /* @__PURE__ */ s("div", { class: "lsx-line lsx-settings", children: [
      /* @__PURE__ */ s(ie, { label: "Lens", value: e.lens, options: n.lenses.map((y) => ({ value: y.id, name: y.name, about: y.about })), onChange: (y) => t.set({ lens: y }) }),
      /* @__PURE__ */ s(ie, { label: "Colour", value: e.colour, options: Object.keys(Ae).map((y) => ({ value: y, name: Ae[y].name })), onChange: (y) => t.set({ colour: y }) }),
      /* @__PURE__ */ s(zs, { colour: e.colour, range: E })
    ] }),
    /* @__PURE__ */ s("p", { class: "lsx-held-line", role: "status", children: o ? /* @__PURE__ */ s(U, { children: [
      "Held: ",
      p(o),
      ". Press ",
      /* @__PURE__ */ s("kbd", { children: "v" }),
      " on a cell or click it to write it there.",
      " ",
      /* @__PURE__ */ s("button", { type: "button", class: "lsx-button", onClick: () => x(null), children: "Let go" })
    ] }) : null }),
    /* @__PURE__ */ s("div", { class: "lsx-two", ref: l, children: [
      r.map((y, P) => {
        const N = P;
        return /* @__PURE__ */ s("section", { class: "lsx-prompt-side", "aria-label": `Prompt ${Te[N]}`, "data-prompt": N, children: [
          /* @__PURE__ */ s(Xe, { label: `Prompt ${Te[N]}`, testid: `prompt-box-${N}`, value: e.prompts[N], onRun: (_) => S(N, _) }),
          y.entry?.failure || y.entry?.status === "missing" ? null : y.grid.tokens.length ? /* @__PURE__ */ s(
            un,
            {
              testid: `patch-grid-${N}`,
              label: `Prompt ${Te[N]}: what the lens reads, by layer and token`,
              tokens: y.grid.tokens,
              layers: y.grid.layers,
              look: y.grid.look,
              selected: ni,
              size: k,
              dim: y.stale,
              busy: y.entry?.status === "waiting",
              handle: (_) => {
                a.current[N] = _, c();
              },
              onScroll: c,
              onGrab: (_, $) => m(_, { prompt: N, ...$ }),
              onSelect: (_) => {
                const $ = t.held.peek();
                !$ || b() || (f($, { prompt: N, ..._ }), x(null));
              },
              onKey: (_, $) => T(N, _, $)
            }
          ) : /* @__PURE__ */ s("div", { class: "lsx-grid lsx-empty", "aria-busy": "true", children: /* @__PURE__ */ s("span", { class: "lsx-unseen", children: "Waiting for the grid" }) }),
          /* @__PURE__ */ s($e, { entry: y.entry, what: `the grid of prompt ${Te[N]}` }),
          /* @__PURE__ */ s(Ce, { notes: y.shown?.answer.notes })
        ] }, N);
      }),
      /* @__PURE__ */ s(Ko, { patches: e.patches, drag: h, handles: a.current, outer: l.current, held: o })
    ] }),
    h && /* @__PURE__ */ s("div", { class: "lsx-ghost", "aria-hidden": "true", style: { transform: `translate(${h.x + 14}px, ${h.y + 10}px)` }, children: [
      Te[h.from.prompt],
      " · layer ",
      h.from.layer,
      " · ",
      /* @__PURE__ */ s(ee, { text: i[h.from.prompt]?.[h.from.position]?.text ?? "" })
    ] }),
    /* @__PURE__ */ s(qo, { patches: e.patches, tokens: i }),
    g && /* @__PURE__ */ s("section", { class: `lsx-results${w ? " lsx-dim" : ""}`, "aria-label": "Results", "aria-busy": C?.status === "waiting", children: [
      /* @__PURE__ */ s("div", { class: "lsx-line", children: [
        /* @__PURE__ */ s("h2", { children: "What is said" }),
        /* @__PURE__ */ s(ne, { label: "New tokens", value: e.new_tokens, low: 1, high: n.limits.max_new_tokens, onChange: (y) => t.set({ new_tokens: y }) })
      ] }),
      /* @__PURE__ */ s("div", { class: "lsx-two", children: [
        L.map((y) => /* @__PURE__ */ s(ti, { result: y }, y.prompt)),
        !L.length && C?.status === "waiting" && /* @__PURE__ */ s("span", { class: "lsx-skeleton lsx-tall", "aria-hidden": "true" })
      ] }),
      /* @__PURE__ */ s($e, { entry: C, what: "these patches" }),
      /* @__PURE__ */ s(Ce, { notes: v?.answer.notes })
    ] })
  ] });
}
const ri = "input:not([type=checkbox]):not([type=range]), textarea, select, [contenteditable]";
function oi(t, e) {
  if (e.defaultPrevented || e.ctrlKey || e.metaKey || e.altKey || t.dialog.peek()) return;
  const n = e.target;
  if (e.key === "Escape") {
    t.held.peek() ? t.held.value = null : t.asker.busy.peek().length && t.asker.stopAll();
    return;
  }
  if (n.closest(ri)) return;
  if (t.state.peek().view === "step" && !n.closest("input, summary")) {
    const l = n.closest("button");
    if (e.key === "ArrowRight" || e.key === " " && !l) return nt(e, () => t.stepBy(1));
    if (e.key === "ArrowLeft") return nt(e, () => t.stepBy(-1));
  }
  if (!t.singleKeys.peek()) return;
  const i = xt[Number(e.key) - 1];
  if (i) return nt(e, () => t.set({ view: i.id }));
  const o = ii[e.key];
  o && nt(e, () => o(t));
}
function nt(t, e) {
  t.preventDefault(), e();
}
function In(t, e) {
  const { lenses: n } = t.about.peek(), r = n.findIndex(({ id: o }) => o === t.state.peek().lens), i = n[(r + e + n.length) % n.length];
  i && (t.set({ lens: i.id }), t.say(`Lens: ${i.name}`));
}
const ii = {
  l: (t) => In(t, 1),
  L: (t) => In(t, -1),
  k: (t) => {
    const e = Object.keys(Ae), n = e[(e.indexOf(t.state.peek().colour) + 1) % e.length];
    t.set({ colour: n }), t.say(`Colour: ${Ae[n].name}`);
  },
  p: (t) => t.set({ presenter: !t.state.peek().presenter }),
  q: (t) => {
    const e = Array.from({ length: t.about.peek().model.n_layers }, (n, r) => r);
    t.set({ quiz: t.state.peek().quiz ? null : { layers: Gs(e), shown: [] } });
  },
  r: (t) => {
    const { cell: e } = t.state.peek();
    e && t.reveal(e.layer);
  },
  s: (t) => Ps(t),
  u: (t) => {
    t.transport.peek().page && Es(t);
  },
  y: (t) => Ls(t),
  "?": (t) => {
    t.dialog.value = "keys";
  }
}, li = 1e3;
function jn({ tokens: t, marked: e, label: n, onPick: r }) {
  return /* @__PURE__ */ s("div", { class: "lsx-tokens", role: "group", "aria-label": n, children: t.map((i, o) => {
    const l = `lsx-chip${e.has(o) ? " lsx-written" : ""}${i.special ? " lsx-special" : ""}`;
    return r ? /* @__PURE__ */ s("button", { type: "button", class: l, "aria-pressed": e.has(o), "aria-label": `token ${o} “${Q(i.text)}”`, onClick: () => r(o), children: /* @__PURE__ */ s(ee, { text: i.text }) }, o) : /* @__PURE__ */ s("span", { class: l, children: [
      /* @__PURE__ */ s(ee, { text: i.text }),
      e.has(o) && /* @__PURE__ */ s("span", { class: "lsx-unseen", children: " (written here)" })
    ] }, o);
  }) });
}
function ai() {
  const t = D(), e = t.state.value, n = t.about.value, r = { kind: "tokens", prompt: e.prompt, placeholder: null }, i = ae("tokens:source", r, { useful: (S) => !!S.tokens }), { entry: o, shown: l, stale: a } = ae("step", e.cell ? sn(e, e.cell) : null, { debounce: 60, useful: (S) => !!S.inspection }), u = l?.answer ?? {}, d = (o?.answer.tokens ?? i.shown?.answer.tokens ?? u.tokens) || [], c = Math.max(0, d.length - 1), p = e.cell ? { ...e.cell, position: d.length ? F(e.cell.position, 0, c) : e.cell.position } : { layer: Math.floor(n.model.n_layers / 3), position: c };
  W(() => {
    d.length && (!e.cell || e.cell.position > c) && t.set({ cell: p });
  }, [d.length, e.cell === null]);
  const f = u.steps ?? [], h = o?.status === "done", m = Math.min(e.step, f.length), [b, x] = re(!1), T = ln({ steps: f.length, complete: h }), g = (S) => t.set({ step: F(S, 0, T.current.steps) }), C = f[m - 1];
  W(() => {
    if (!b) return;
    const S = setInterval(() => {
      const { step: k } = t.state.peek();
      k < T.current.steps ? g(k + 1) : T.current.complete && x(!1);
    }, li);
    return () => clearInterval(S);
  }, [b]), W(() => {
    C && t.say(`${Oe(C.token)}, ${he(C.probability)}`);
  }, [m]);
  const v = [...u.layers ?? []].sort((S, k) => k.layer - S.layer), w = (S) => t.set({ cell: S, step: 0 }), L = /* @__PURE__ */ new Set([p.position]);
  return /* @__PURE__ */ s(U, { children: [
    /* @__PURE__ */ s("div", { class: "lsx-top-area", children: [
      /* @__PURE__ */ s(Xe, { label: "Prompt", value: e.prompt, onRun: (S) => t.set({ prompt: S, step: 0 }) }),
      /* @__PURE__ */ s(js, {})
    ] }),
    /* @__PURE__ */ s("div", { class: a ? "lsx-steps lsx-dim" : "lsx-steps", children: [
      /* @__PURE__ */ s("section", { class: "lsx-card", "aria-label": "Read", children: [
        /* @__PURE__ */ s("h2", { children: [
          /* @__PURE__ */ s("span", { class: "lsx-numeral", children: "1" }),
          " Read"
        ] }),
        /* @__PURE__ */ s(jn, { tokens: d, marked: L, label: "Prompt, by token", onPick: (S) => w({ ...p, position: S }) }),
        /* @__PURE__ */ s("div", { class: "lsx-sliders", children: [
          /* @__PURE__ */ s(ne, { label: "Layer", slider: !0, value: p.layer, low: 0, high: n.model.n_layers - 1, onChange: (S) => w({ ...p, layer: S }) }),
          /* @__PURE__ */ s(ie, { label: "Reader", value: e.reader, options: n.readers.map((S) => ({ value: S.id, name: S.name, about: S.about })), onChange: (S) => t.set({ reader: S, step: 0 }) })
        ] })
      ] }),
      /* @__PURE__ */ s("p", { class: "lsx-flow", children: [
        /* @__PURE__ */ s("span", { class: "lsx-flow-arrow", "aria-hidden": "true", children: "↓" }),
        /* @__PURE__ */ s("code", { children: u.read ?? `resid_post(${p.layer})` }),
        " ",
        /* @__PURE__ */ s("span", { "aria-label": "is written into", children: "→" }),
        " ",
        /* @__PURE__ */ s("code", { children: u.written ?? "…" })
      ] }),
      /* @__PURE__ */ s("section", { class: "lsx-card", "aria-label": "Write", children: [
        /* @__PURE__ */ s("h2", { children: [
          /* @__PURE__ */ s("span", { class: "lsx-numeral", children: "2" }),
          " Write"
        ] }),
        u.inspection ? /* @__PURE__ */ s(jn, { tokens: u.inspection, marked: new Set(u.placeholders ?? []), label: "Inspection prompt, by token" }) : o?.status === "waiting" && /* @__PURE__ */ s("span", { class: "lsx-skeleton", "aria-hidden": "true" }),
        /* @__PURE__ */ s("p", { class: "lsx-hint", children: [
          "The state takes the place of the marked ",
          (u.placeholders?.length ?? 1) === 1 ? "token’s" : "tokens’",
          " state."
        ] })
      ] }),
      /* @__PURE__ */ s("p", { class: "lsx-flow", children: /* @__PURE__ */ s("span", { class: "lsx-flow-arrow", "aria-hidden": "true", children: "↓" }) }),
      /* @__PURE__ */ s("section", { class: "lsx-card", "aria-label": "Say", children: [
        /* @__PURE__ */ s("h2", { children: [
          /* @__PURE__ */ s("span", { class: "lsx-numeral", children: "3" }),
          " Say"
        ] }),
        /* @__PURE__ */ s("p", { class: "lsx-said-line", "data-testid": "step-said", dir: "auto", children: [
          f.slice(0, m).map((S, k) => /* @__PURE__ */ s("button", { type: "button", class: `lsx-chip${k === m - 1 ? " lsx-written" : ""}`, "aria-label": `${Oe(S.token)}, ${he(S.probability)}`, onClick: () => g(k + 1), children: /* @__PURE__ */ s(ee, { text: S.token }) }, k)),
          m === 0 && /* @__PURE__ */ s("span", { class: "lsx-muted", children: "Nothing said yet." })
        ] }),
        /* @__PURE__ */ s("div", { class: "lsx-line", children: [
          /* @__PURE__ */ s("button", { type: "button", class: "lsx-button", disabled: m === 0, onClick: () => g(m - 1), children: "Back" }),
          /* @__PURE__ */ s("button", { type: "button", class: "lsx-button lsx-primary", "data-testid": "step-next", disabled: m >= f.length, onClick: () => g(m + 1), children: [
            "Next ",
            /* @__PURE__ */ s("kbd", { "aria-hidden": "true", children: "→" })
          ] }),
          /* @__PURE__ */ s(
            "button",
            {
              type: "button",
              class: "lsx-button",
              disabled: !f.length,
              "aria-pressed": b,
              onClick: () => {
                !b && m >= f.length && g(0), x(!b);
              },
              children: b ? "Pause" : "Play"
            }
          ),
          /* @__PURE__ */ s("button", { type: "button", class: "lsx-button", disabled: m >= f.length, onClick: () => g(f.length), children: "All" }),
          /* @__PURE__ */ s("span", { class: "lsx-muted", children: [
            m,
            " of ",
            f.length,
            h ? "" : "…"
          ] })
        ] }),
        C && /* @__PURE__ */ s("div", { class: "lsx-alternatives", children: [
          /* @__PURE__ */ s("h3", { children: [
            "Token ",
            m,
            ": what else was probable"
          ] }),
          /* @__PURE__ */ s(wt, { top: C.alternatives, chosen: C.token, label: "Alternatives" })
        ] }),
        u.nothing !== void 0 && m >= f.length && f.length > 0 && /* @__PURE__ */ s("p", { class: "lsx-sentence", children: [
          "With nothing written it says: ",
          /* @__PURE__ */ s("q", { dir: "auto", children: u.nothing.trim() })
        ] })
      ] }),
      /* @__PURE__ */ s($e, { entry: o, what: "this state, step by step" }),
      /* @__PURE__ */ s(Ce, { notes: u.notes })
    ] }),
    v.length > 0 && /* @__PURE__ */ s("section", { class: "lsx-by-layer", "aria-label": "What each layer says", children: [
      /* @__PURE__ */ s("h2", { children: "What each layer says" }),
      /* @__PURE__ */ s("ol", { children: v.map((S) => /* @__PURE__ */ s("li", { children: /* @__PURE__ */ s("button", { type: "button", class: `lsx-layer-says${S.echo ? " lsx-echo" : ""}`, "aria-current": S.layer === p.layer ? "true" : void 0, onClick: () => w({ ...p, layer: S.layer }), children: [
        /* @__PURE__ */ s("span", { class: "lsx-index", children: S.layer }),
        /* @__PURE__ */ s("span", { class: "lsx-said", dir: "auto", children: S.text.trim() }),
        S.echo && /* @__PURE__ */ s("span", { class: "lsx-badge", children: "echo" })
      ] }) }, S.layer)) }),
      /* @__PURE__ */ s("p", { class: "lsx-muted", children: "An echo says what is said of nothing, or the placeholder again: the state was not heard." })
    ] })
  ] });
}
const ci = { grid: Io, patch: si, matters: Fo, step: ai };
class ui extends Le {
  constructor() {
    super(...arguments), this.state = { error: null };
  }
  static getDerivedStateFromError(e) {
    return { error: e };
  }
  render() {
    const e = this.state.error;
    return e ? /* @__PURE__ */ s(
      an,
      {
        failure: { what: "This view could not be shown", got: e.message, expected: "", instead: "Go to another view, or try again" },
        onRetry: () => this.setState({ error: null })
      }
    ) : this.props.children;
  }
}
function di() {
  const t = D();
  return /* @__PURE__ */ s("div", { class: "lsx-messages-area", children: [
    t.lost.value && /* @__PURE__ */ s("div", { class: "lsx-notice lsx-bad", role: "alert", "data-testid": "error", children: [
      /* @__PURE__ */ s("p", { children: [
        "The server does not answer: is ",
        /* @__PURE__ */ s("code", { children: "lensscope explore" }),
        " still running?"
      ] }),
      /* @__PURE__ */ s("button", { type: "button", class: "lsx-button", onClick: () => t.retry(), children: "Try again" }),
      /* @__PURE__ */ s("button", { type: "button", class: "lsx-button lsx-icon", "aria-label": "Dismiss", onClick: () => t.lost.value = !1, children: "×" })
    ] }),
    t.notices.value.map((e) => /* @__PURE__ */ s("div", { class: `lsx-notice lsx-${e.tone}`, role: e.tone === "bad" ? "alert" : "status", "data-testid": e.tone === "bad" ? "error" : void 0, children: [
      /* @__PURE__ */ s("p", { children: e.text }),
      /* @__PURE__ */ s("button", { type: "button", class: "lsx-button lsx-icon", "aria-label": "Dismiss", onClick: () => t.dismiss(e.id), children: "×" })
    ] }, e.id))
  ] });
}
function hi() {
  const t = D(), { view: e } = t.state.value, n = ci[e];
  return /* @__PURE__ */ s(ui, { children: /* @__PURE__ */ s(n, {}) }, e);
}
function pi({ app: t, page: e }) {
  const n = t.state.value, r = Z(null), i = Z(null);
  return W(() => {
    const o = r.current;
    if (!o) return;
    const l = (d) => {
      t.interrupt?.(), oi(t, d);
    }, a = (d) => d.target === document.body && l(d), u = () => t.interrupt?.();
    return o.addEventListener("keydown", l), o.addEventListener("pointerdown", u), e && document.addEventListener("keydown", a), () => {
      o.removeEventListener("keydown", l), o.removeEventListener("pointerdown", u), document.removeEventListener("keydown", a);
    };
  }, []), W(() => {
    if (!e) return;
    const o = setTimeout(() => {
      const l = "#" + Ss(n);
      location.hash !== l && history.replaceState(history.state, "", l);
    }, 400);
    return () => clearTimeout(o);
  }, [n]), W(() => {
    e && (document.title = `${xt.find(({ id: o }) => o === n.view)?.name} · ${t.about.value.model.name} · lensscope`);
  }, [n.view, t.about.value]), /* @__PURE__ */ s(As.Provider, { value: t, children: /* @__PURE__ */ s(
    "div",
    {
      ref: r,
      class: `lsx${n.presenter ? " lsx-presenter" : ""}${e ? " lsx-page" : " lsx-widget"}`,
      "data-theme": t.dark.value ? "dark" : "light",
      children: [
        /* @__PURE__ */ s(
          "a",
          {
            class: "lsx-skip",
            href: "#lsx-main",
            onClick: (o) => {
              o.preventDefault(), i.current?.focus();
            },
            children: "Skip to the view"
          }
        ),
        /* @__PURE__ */ s(ro, {}),
        /* @__PURE__ */ s(_o, {}),
        /* @__PURE__ */ s(di, {}),
        /* @__PURE__ */ s("main", { ref: i, class: "lsx-main", tabIndex: -1, "aria-label": xt.find(({ id: o }) => o === n.view)?.name, children: /* @__PURE__ */ s(hi, {}) }),
        /* @__PURE__ */ s("footer", { class: "lsx-footer", children: /* @__PURE__ */ s("p", { children: Object.entries(t.about.value.libraries).map(([o, l]) => `${o} ${l}`).join(" · ") }) }),
        /* @__PURE__ */ s("p", { class: "lsx-unseen", role: "status", "aria-live": "polite", children: t.spoken.value }),
        /* @__PURE__ */ s(no, {})
      ]
    }
  ) });
}
function Ys(t, e, n) {
  return ut(/* @__PURE__ */ s(pi, { app: t, page: n }), e), () => {
    ut(null, e), t.close();
  };
}
function Hn(t) {
  try {
    return { ...t, ...Wr(location.hash) };
  } catch {
    return null;
  }
}
function Qs(t, e, n) {
  if (location.hash.length > 1) {
    const r = Hn(n);
    r ? t.restore(r) : t.tell("The link could not be read: this is where one begins.");
  }
  addEventListener("hashchange", () => {
    const r = Hn(n);
    r && t.restore(r);
  }), Ys(t, e, !0);
}
function fi(t, e) {
  const { recorded: n } = as(JSON.parse(e.textContent ?? "")), r = new rn(n.about, n.state, $s(n, !0));
  r.asker.learn(n.answers), Qs(r, t, n.state);
}
function Un({ text: t, onRetry: e }) {
  return /* @__PURE__ */ s("main", { class: "lsx lsx-page lsx-waiting", children: [
    /* @__PURE__ */ s("h1", { children: "lensscope" }),
    /* @__PURE__ */ s("p", { role: e ? "alert" : "status", "data-testid": e ? "error" : void 0, children: t }),
    e && /* @__PURE__ */ s("button", { type: "button", class: "lsx-button lsx-primary", onClick: e, children: "Try again" })
  ] });
}
async function Zs(t) {
  ut(/* @__PURE__ */ s(Un, { text: "Asking which model this is…" }), t);
  try {
    const e = await zr();
    Qs(new rn(e, e.state, Gr), t, e.state);
  } catch (e) {
    const n = e instanceof Error && e.message ? e.message : "The server does not answer: is `lensscope explore` still running?";
    ut(/* @__PURE__ */ s(Un, { text: n, onRetry: () => void Zs(t) }), t);
  }
}
function mi({ model: t, el: e }) {
  const n = ls(t.get("about")), r = Vr(t), i = Ys(new rn(n, n.state, r), e, !1);
  return () => {
    i(), r.close();
  };
}
const Pt = typeof document > "u" ? null : document.querySelector("[data-lensscope-explorer]");
if (Pt) {
  const t = document.getElementById("lensscope-recorded");
  t ? fi(Pt, t) : Zs(Pt);
}
const _i = { render: mi };
export {
  _i as default
};
