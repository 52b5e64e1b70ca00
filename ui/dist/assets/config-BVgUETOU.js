import{G as e,H as t,Z as n,d as r,t as i}from"./index-zK8-rm_-.js";function a(){let a=i(`status/config`);return e(n,{children:[e(`div`,{class:`page-head`,children:[e(`h1`,{children:`Configuration`}),e(`span`,{class:`spacer`}),a.answer&&e(r,{text:()=>a.answer?.data.yaml??``})]}),e(t,{of:a,children:({yaml:t})=>e(`div`,{class:`card`,children:e(`pre`,{class:`code`,tabIndex:0,children:o(t)})})})]})}function o(t){return t.split(`
`).map((t,n)=>{let r=/^(\s*(?:- )*)([\w.-]+)(:)(?=\s|$)(.*)$/.exec(t);return/^\s*#/.test(t)?e(`span`,{class:`muted`,children:[t,`
`]},n):r?e(`span`,{children:[r[1],e(`b`,{class:`yaml-key`,children:r[2]}),r[3],r[4],`
`]},n):e(`span`,{children:[t,`
`]},n)})}export{a as default};